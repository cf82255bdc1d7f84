"""The one label convention: every id of a data set is interpreted here and nowhere else.

Three kinds of ids meet in a unified model:

- *semantic id*: the channel of the semantic head and the value in a semantic map, 0 .. K-1;
- *thing id*: the class index of the detector, 0 .. T-1;
- *dataset id*: the id in the files (Cityscapes' label id, COCO's category id).

Detectron2's metadata mixes three conventions for them, and a `ClassTable` reads all three:

- semantic ids over all classes, thing ids apart (Cityscapes: 19 semantic ids, 8 thing ids, car is 13 and 2);
- one contiguous numbering for both (COCO panoptic: things 0 .. 79, stuff 80 .. 132);
- stuff alone in the semantic map, one semantic id shared by all things (COCO separated: 0 = "things").

In panoptic outputs `category_id` is Detectron2's: the thing id of a thing, the semantic id of stuff.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

IGNORE_LABEL = 255


@dataclass(frozen=True)
class SegmentClass:
    """One class.

    Attributes:
        name: as people read it.
        semantic_id: its value in a semantic map; several things may share one (COCO separated).
        thing_id: its class index in the detector, None for stuff.
        dataset_id: its id in the panoptic and instance files.
        category: the group of look-alike classes it belongs to ("vehicle", "human"); its own name where the data
            set has none.
        color: RGB, 0 to 255.
    """

    name: str
    semantic_id: int
    thing_id: int | None
    dataset_id: int
    category: str
    color: tuple[int, int, int]

    @property
    def is_thing(self) -> bool:
        return self.thing_id is not None

    @property
    def category_id(self) -> int:
        """The `category_id` of its panoptic segments (thing id of a thing, semantic id of stuff)."""
        return self.semantic_id if self.thing_id is None else self.thing_id


class ClassTable:
    """All classes of a data set.

    Args:
        classes: in any order.
        ignore_label: the value of pixels without a class in semantic maps.

    Raises:
        ValueError: no class, ids that are not 0 .. n-1, or ids that mean two things.
    """

    def __init__(self, classes: Iterable[SegmentClass], ignore_label: int = IGNORE_LABEL):
        self.classes = tuple(sorted(classes, key=lambda c: (c.semantic_id, -1 if c.thing_id is None else c.thing_id)))
        self.ignore_label = ignore_label
        self._check()

    def _check(self) -> None:
        if not self.classes:
            raise ValueError("a class table needs at least one class")
        semantic_ids = sorted({c.semantic_id for c in self.classes})
        if semantic_ids != list(range(len(semantic_ids))):
            raise ValueError(f"semantic ids must be 0 .. K-1 without a gap, got {semantic_ids}")
        thing_ids = [c.thing_id for c in self.things]
        if thing_ids != list(range(len(thing_ids))):
            raise ValueError(f"thing ids must be 0 .. T-1, each once, got {thing_ids}")
        if semantic_ids[-1] >= self.ignore_label >= 0:
            raise ValueError(f"the ignore label {self.ignore_label} is also the id of a class")
        dataset_ids = [c.dataset_id for c in self.classes]
        if len(set(dataset_ids)) != len(dataset_ids):
            raise ValueError(f"a dataset id names two classes: {sorted(dataset_ids)}")
        for semantic_id in semantic_ids:
            sharing = [c for c in self.classes if c.semantic_id == semantic_id]
            if len(sharing) > 1 and not all(c.is_thing for c in sharing):
                names = ", ".join(c.name for c in sharing)
                raise ValueError(f"semantic id {semantic_id} is shared by {names}, which are not all things")

    @cached_property
    def things(self) -> tuple[SegmentClass, ...]:
        """The things, by thing id."""
        things = [c for c in self.classes if c.thing_id is not None]
        return tuple(sorted(things, key=lambda c: c.category_id))

    @property
    def num_semantic(self) -> int:
        """K: the channels of a semantic head."""
        return self.classes[-1].semantic_id + 1

    @property
    def num_things(self) -> int:
        """T: the classes of a detector."""
        return len(self.things)

    @cached_property
    def semantic_names(self) -> list[str]:
        """The name of each semantic id; "things" where several things share it."""
        names: dict[int, str] = {}
        for c in self.classes:
            names[c.semantic_id] = "things" if c.semantic_id in names else c.name
        return [names[i] for i in range(self.num_semantic)]

    @cached_property
    def semantic_colors(self) -> list[tuple[int, int, int]]:
        """The RGB of each semantic id."""
        colors = {c.semantic_id: c.color for c in reversed(self.classes)}
        return [colors[i] for i in range(self.num_semantic)]

    @cached_property
    def is_thing(self) -> np.ndarray:
        """(K,) bool: whether a semantic id means things."""
        flags = np.zeros(self.num_semantic, dtype=bool)
        flags[[c.semantic_id for c in self.things]] = True
        return flags

    @cached_property
    def thing_to_semantic(self) -> np.ndarray:
        """(T,) int64: the semantic id of each thing id."""
        return np.array([c.semantic_id for c in self.things], dtype=np.int64)

    @cached_property
    def semantic_to_thing(self) -> np.ndarray:
        """(K,) int64: the thing id of each semantic id; -1 for stuff, and where several things share the id."""
        things = np.full(self.num_semantic, -1, dtype=np.int64)
        ids, counts = np.unique(self.thing_to_semantic, return_counts=True)
        for semantic_id in ids[counts == 1]:
            things[semantic_id] = self.thing_to_semantic.tolist().index(semantic_id)
        return things

    @cached_property
    def categories(self) -> list[str]:
        """The category names, in the order of their first class."""
        return list(dict.fromkeys(c.category for c in self.classes))

    @cached_property
    def category_of(self) -> np.ndarray:
        """(K,) int64: the index into `categories` of each semantic id."""
        category = np.zeros(self.num_semantic, dtype=np.int64)
        for c in self.classes:
            category[c.semantic_id] = self.categories.index(c.category)
        return category

    @cached_property
    def by_dataset_id(self) -> dict[int, SegmentClass]:
        return {c.dataset_id: c for c in self.classes}

    def thing(self, thing_id: int) -> SegmentClass:
        return self.things[thing_id]

    def find_class(self, category_id: int, is_thing: bool) -> SegmentClass:
        """The class of a panoptic segment as Detectron2 writes it.

        Raises:
            ValueError: the table has no such class.
        """
        for c in self.things if is_thing else self.classes:
            if c.is_thing == is_thing and c.category_id == category_id:
                return c
        raise ValueError(f"no {'thing' if is_thing else 'stuff'} class has category_id {category_id}")

    @classmethod
    def from_metadata(cls, metadata: Any) -> "ClassTable":
        """Read Detectron2 metadata (or anything with its attributes) in any of its three conventions.

        Args:
            metadata: `stuff_classes` and/or `thing_classes`, the matching `*_colors` and
                `*_dataset_id_to_contiguous_id` where it has them, `ignore_label`, and our own `class_categories`
                (class name -> category name).

        Raises:
            ValueError: neither kind of classes is there, or the ids contradict each other.
        """
        thing_names = list(getattr(metadata, "thing_classes", ()))
        stuff_names = list(getattr(metadata, "stuff_classes", ()))
        if not thing_names and not stuff_names:
            raise ValueError(f"the data set {getattr(metadata, 'name', '?')!r} has no thing_classes or stuff_classes")
        thing_ids = _contiguous_ids(metadata, "thing", thing_names)
        stuff_ids = _contiguous_ids(metadata, "stuff", stuff_names)
        thing_colors = list(getattr(metadata, "thing_colors", ())) or make_voc_palette(len(thing_names))
        stuff_colors = list(getattr(metadata, "stuff_colors", ())) or make_voc_palette(len(stuff_names))
        categories: Mapping[str, str] = getattr(metadata, "class_categories", {})

        def entry(name: str, semantic: int, thing: int | None, dataset_id: int, color: Any) -> SegmentClass:
            rgb = (int(color[0]), int(color[1]), int(color[2]))
            return SegmentClass(name, semantic, thing, dataset_id, categories.get(name, name), rgb)

        shared = stuff_names[:1] == ["things"]  # COCO separated: one semantic id for all things
        # Cityscapes' semantic sets publish no ids of things: there the files hold those of the semantic map.
        things_unpublished = getattr(metadata, "thing_dataset_id_to_contiguous_id", None) is None
        semantic_dataset_id = {contiguous: dataset_id for dataset_id, contiguous in stuff_ids.items()}
        classes, seen_names = [], set()
        # Detectron2's Cityscapes panoptic metadata numbers things 11 .. 18; a detector's classes start at 0.
        by_contiguous = sorted((contiguous, dataset_id) for dataset_id, contiguous in thing_ids.items())
        for thing_id, (contiguous, dataset_id) in enumerate(by_contiguous):
            name = thing_names[contiguous]
            if shared:
                semantic = 0
            elif name in stuff_names:
                semantic = stuff_names.index(name)
                if things_unpublished:
                    dataset_id = semantic_dataset_id.get(semantic, dataset_id)
            elif not stuff_names:
                semantic = thing_id
            else:
                raise ValueError(f"the thing class {name!r} is not among stuff_classes, so it has no semantic id")
            classes.append(entry(name, semantic, thing_id, dataset_id, thing_colors[contiguous]))
            seen_names.add(name)
        for dataset_id, contiguous in sorted(stuff_ids.items(), key=lambda item: item[1]):
            name = stuff_names[contiguous]
            if name in seen_names or (shared and contiguous == 0):
                continue
            classes.append(entry(name, contiguous, None, dataset_id, stuff_colors[contiguous]))
        return cls(classes, getattr(metadata, "ignore_label", IGNORE_LABEL))

    def to_metadata(self) -> dict[str, Any]:
        """Detectron2's metadata, of which `from_metadata` makes this table again.

        Raises:
            ValueError: two classes have one name, by which metadata says which thing is which semantic class, or
                several things share a semantic id.
        """
        names = [c.name for c in self.classes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two classes have the name {', '.join(twice)}")
        if len(names) != self.num_semantic:
            raise ValueError("several things share a semantic id")
        return {
            "stuff_classes": names,
            "stuff_colors": [c.color for c in self.classes],
            "stuff_dataset_id_to_contiguous_id": {c.dataset_id: c.semantic_id for c in self.classes},
            "thing_classes": [c.name for c in self.things],
            "thing_colors": [c.color for c in self.things],
            "thing_dataset_id_to_contiguous_id": {c.dataset_id: c.thing_id for c in self.things},
            "class_categories": {c.name: c.category for c in self.classes},
            "ignore_label": self.ignore_label,
        }


def _contiguous_ids(metadata: Any, kind: str, names: list[str]) -> dict[int, int]:
    """dataset id -> contiguous id; data sets whose files hold contiguous ids publish no mapping."""
    mapping = getattr(metadata, f"{kind}_dataset_id_to_contiguous_id", None)
    if mapping is None:
        return {i: i for i in range(len(names))}
    outside = [i for i in mapping.values() if not 0 <= i < len(names)]
    if outside:
        raise ValueError(f"{kind}_dataset_id_to_contiguous_id names ids {outside}, but {kind}_classes has {len(names)}")
    return dict(mapping)


def map_classes_to_categories(members: Mapping[str, str]) -> dict[str, str]:
    """Class name -> category name, of each category's class names in one text, separated by ", "."""
    return {name: category for category, names in members.items() for name in names.split(", ")}


def make_voc_palette(count: int, first: int = 1) -> list[tuple[int, int, int]]:
    """PASCAL VOC's palette: the bits of an index spread over the high bits of red, green and blue.

    Also for data sets that publish no colors: those of the first 255 indices after 0, which is black, are distinct.

    Args:
        count: how many colors.
        first: the index of the first; 0 for VOC's own classes, whose background is black.
    """
    colors = []
    for index in range(first, first + count):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        colors.append((rgb[0], rgb[1], rgb[2]))
    return colors
