"""The label convention: the ids of a data set are interpreted here and nowhere else.

A unified model uses three kinds of ids:

- *semantic id*: the channel of the semantic head, and the value in a semantic map, 0 .. K-1;
- *thing id*: the class index of the detector, 0 .. T-1;
- *dataset id*: the id in the files (Cityscapes' label id, COCO's category id).

Detectron2's metadata mixes three conventions for them, and a `ClassTable` reads all three:

- semantic ids over all classes, separate thing ids (Cityscapes: 19 semantic ids, 8 thing ids, car is 13 and 2);
- one contiguous numbering for both (COCO panoptic: things 0 .. 79, stuff 80 .. 132);
- semantic ids of stuff, one semantic id shared by all things (COCO separated: 0 = "things").

In panoptic outputs `category_id` is, as in Detectron2, the thing id of a thing and the semantic id of stuff.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

IGNORE_LABEL = 255
# The ignore label of more classes than a byte holds: label maps then have two bytes a pixel, signed.
WIDE_IGNORE_LABEL = 32767
Color = tuple[int, int, int]


@dataclass(frozen=True)
class SegmentClass:
    """One class.

    Attributes:
        name: its display name.
        semantic_id: its value in a semantic map; several things may share one (COCO separated).
        thing_id: its class index in the detector; None for stuff.
        dataset_id: its id in the panoptic and instance files.
        category: its group of similar classes ("vehicle", "human"); its own name if the data set has no groups.
        color: RGB, 0 to 255.
    """

    name: str
    semantic_id: int
    thing_id: int | None
    dataset_id: int
    category: str
    color: Color

    @property
    def is_thing(self) -> bool:
        return self.thing_id is not None

    @property
    def category_id(self) -> int:
        """The `category_id` of its panoptic segments: the thing id of a thing, the semantic id of stuff."""
        return self.semantic_id if self.thing_id is None else self.thing_id


class ClassTable:
    """All classes of a data set.

    Args:
        classes: in any order.
        ignore_label: the value of pixels without a class in semantic maps; None: IGNORE_LABEL, or WIDE_IGNORE_LABEL if
            there are too many classes for it.

    Raises:
        ValueError: there is no class, or more than WIDE_IGNORE_LABEL; ids are not 0 .. n-1, or an id has two meanings.
    """

    def __init__(self, classes: Iterable[SegmentClass], ignore_label: int | None = None):
        self.classes = tuple(sorted(classes, key=lambda c: (c.semantic_id, -1 if c.thing_id is None else c.thing_id)))
        if ignore_label is None:
            is_wide = bool(self.classes) and self.num_semantic > IGNORE_LABEL
            ignore_label = WIDE_IGNORE_LABEL if is_wide else IGNORE_LABEL
        self.ignore_label = ignore_label
        self._check()

    def _check(self) -> None:
        if not self.classes:
            raise ValueError("a class table needs at least one class")
        semantic_ids = sorted({c.semantic_id for c in self.classes})
        if semantic_ids != list(range(len(semantic_ids))):
            raise ValueError(f"semantic ids must be 0 .. K-1 without gaps, got {semantic_ids}")
        thing_ids = [c.thing_id for c in self.things]
        if thing_ids != list(range(len(thing_ids))):
            raise ValueError(f"thing ids must be 0 .. T-1, each once, got {thing_ids}")
        if semantic_ids[-1] >= WIDE_IGNORE_LABEL:
            raise ValueError(f"at most {WIDE_IGNORE_LABEL} classes fit into a label map, got {semantic_ids[-1] + 1}")
        if semantic_ids[-1] >= self.ignore_label >= 0:
            raise ValueError(f"the ignore label {self.ignore_label} is also a semantic id")
        dataset_ids = [c.dataset_id for c in self.classes]
        if len(set(dataset_ids)) != len(dataset_ids):
            raise ValueError(f"dataset ids must be unique, got {sorted(dataset_ids)}")
        for semantic_id, group in groupby(self.classes, key=lambda c: c.semantic_id):
            sharing = list(group)
            if len(sharing) > 1 and not all(c.is_thing for c in sharing):
                names = ", ".join(c.name for c in sharing)
                raise ValueError(f"semantic id {semantic_id} is shared by {names}, but only things can share one")

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
        """The name of each semantic id; "things" for an id that several things share."""
        names: dict[int, str] = {}
        for c in self.classes:
            names[c.semantic_id] = "things" if c.semantic_id in names else c.name
        return [names[i] for i in range(self.num_semantic)]

    @cached_property
    def semantic_colors(self) -> list[Color]:
        """The RGB of each semantic id."""
        colors = {c.semantic_id: c.color for c in reversed(self.classes)}
        return [colors[i] for i in range(self.num_semantic)]

    @cached_property
    def is_thing(self) -> np.ndarray:
        """(K,) bool: whether a semantic id is that of things."""
        flags = np.zeros(self.num_semantic, dtype=bool)
        flags[[c.semantic_id for c in self.things]] = True
        return flags

    @cached_property
    def thing_to_semantic(self) -> np.ndarray:
        """(T,) int64: the semantic id of each thing id."""
        return np.array([c.semantic_id for c in self.things], dtype=np.int64)

    @cached_property
    def semantic_to_thing(self) -> np.ndarray:
        """(K,) int64: the thing id of each semantic id; -1 for stuff and for an id that several things share."""
        things = np.full(self.num_semantic, -1, dtype=np.int64)
        ids, first, counts = np.unique(self.thing_to_semantic, return_index=True, return_counts=True)
        things[ids[counts == 1]] = first[counts == 1]
        return things

    @cached_property
    def categories(self) -> list[str]:
        """The category names, in the order of their first class."""
        return list(dict.fromkeys(c.category for c in self.classes))

    @cached_property
    def category_of(self) -> np.ndarray:
        """(K,) int64: the index into `categories` of each semantic id."""
        number_of = {category: number for number, category in enumerate(self.categories)}
        category = np.zeros(self.num_semantic, dtype=np.int64)
        for c in self.classes:
            category[c.semantic_id] = number_of[c.category]
        return category

    @cached_property
    def by_dataset_id(self) -> dict[int, SegmentClass]:
        return {c.dataset_id: c for c in self.classes}

    @cached_property
    def _by_category_id(self) -> dict[tuple[bool, int], SegmentClass]:
        return {(c.is_thing, c.category_id): c for c in self.classes}

    def find_class(self, category_id: int, is_thing: bool) -> SegmentClass:
        """Return the class of a panoptic segment, from Detectron2's description of it.

        Raises:
            ValueError: the table has no such class.
        """
        try:
            return self._by_category_id[is_thing, category_id]
        except KeyError:
            raise ValueError(f"no {'thing' if is_thing else 'stuff'} class has category_id {category_id}") from None

    @classmethod
    def from_metadata(cls, metadata: Any) -> "ClassTable":
        """Read Detectron2 metadata (or anything with its attributes) in any of its three conventions.

        Args:
            metadata: `stuff_classes` and/or `thing_classes`, the matching `*_colors` and
                `*_dataset_id_to_contiguous_id` if there are any, `ignore_label`, and this project's
                `class_categories` (class name -> category name).

        Raises:
            ValueError: there are no classes, or their ids contradict each other.
        """
        things, stuff = (_ClassList.from_metadata(metadata, kind) for kind in ("thing", "stuff"))
        if not things.names and not stuff.names:
            raise ValueError(f"the data set {getattr(metadata, 'name', '?')!r} has no thing_classes or stuff_classes")
        classes = list(_read_things(things, stuff))
        classes += _read_stuff(stuff, {c.name for c in classes})
        category_of = getattr(metadata, "class_categories", {})
        classes = [replace(c, category=category_of.get(c.name, c.name)) for c in classes]
        return cls(classes, getattr(metadata, "ignore_label", None))

    def to_metadata(self) -> dict[str, Any]:
        """Return Detectron2's metadata, from which `from_metadata` reads this table again.

        Raises:
            ValueError: two classes have one name, which in metadata links a thing to its semantic class; or several
                things share a semantic id.
        """
        names = [c.name for c in self.classes]
        if twice := sorted(name for name, count in Counter(names).items() if count > 1):
            raise ValueError(f"class names must be unique, got several classes {', '.join(twice)}")
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


class _ClassList(NamedTuple):
    """The classes of one kind, things or stuff, in Detectron2's metadata.

    Attributes:
        names: by contiguous id.
        colors: by contiguous id.
        contiguous_ids: contiguous id of each dataset id.
        has_dataset_ids: whether the metadata has the dataset ids; else they are the contiguous ids.
    """

    names: list[str]
    colors: list[Color]
    contiguous_ids: dict[int, int]
    has_dataset_ids: bool

    @classmethod
    def from_metadata(cls, metadata: Any, kind: str) -> "_ClassList":
        names = list(getattr(metadata, f"{kind}_classes", ()))
        colors = list(getattr(metadata, f"{kind}_colors", ())) or make_voc_palette(len(names))
        mapping = getattr(metadata, f"{kind}_dataset_id_to_contiguous_id", None)
        contiguous_ids = dict(enumerate(range(len(names)))) if mapping is None else dict(mapping)
        if outside := [i for i in contiguous_ids.values() if not 0 <= i < len(names)]:
            raise ValueError(
                f"{kind}_dataset_id_to_contiguous_id: ids {outside} are not indices of {kind}_classes, which has "
                f"{len(names)}"
            )
        return cls(names, [(int(c[0]), int(c[1]), int(c[2])) for c in colors], contiguous_ids, mapping is not None)

    @property
    def has_shared_things(self) -> bool:
        """Whether this is the stuff of COCO separated, with one semantic id for all things."""
        return self.names[:1] == ["things"]


def _read_things(things: _ClassList, stuff: _ClassList) -> Iterator[SegmentClass]:
    semantic_to_dataset = {contiguous: dataset_id for dataset_id, contiguous in stuff.contiguous_ids.items()}
    semantic_ids = {name: semantic_id for semantic_id, name in reversed(list(enumerate(stuff.names)))}
    # Detectron2's Cityscapes panoptic metadata numbers things 11 .. 18; a detector's classes start at 0.
    by_contiguous = sorted((contiguous, dataset_id) for dataset_id, contiguous in things.contiguous_ids.items())
    for thing_id, (contiguous, dataset_id) in enumerate(by_contiguous):
        name = things.names[contiguous]
        if stuff.has_shared_things:
            semantic_id = 0
        elif name in semantic_ids:
            semantic_id = semantic_ids[name]
            if not things.has_dataset_ids:
                # Cityscapes' semantic data sets: the files contain the dataset ids of the semantic classes.
                dataset_id = semantic_to_dataset.get(semantic_id, dataset_id)
        elif not stuff.names:
            semantic_id = thing_id
        else:
            raise ValueError(f"the thing class {name!r} is not among stuff_classes, so it has no semantic id")
        yield SegmentClass(name, semantic_id, thing_id, dataset_id, name, things.colors[contiguous])


def _read_stuff(stuff: _ClassList, thing_names: Set[str]) -> Iterator[SegmentClass]:
    for dataset_id, contiguous in sorted(stuff.contiguous_ids.items(), key=lambda item: item[1]):
        name = stuff.names[contiguous]
        if name not in thing_names and not (stuff.has_shared_things and contiguous == 0):
            yield SegmentClass(name, contiguous, None, dataset_id, name, stuff.colors[contiguous])


def map_classes_to_categories(members: Mapping[str, str]) -> dict[str, str]:
    """Return class name -> category name, from category name -> class names separated by ", "."""
    return {name: category for category, names in members.items() for name in names.split(", ")}


def make_voc_palette(count: int, first: int = 1) -> list[Color]:
    """Return colors of PASCAL VOC's palette: the bits of an index, spread over the high bits of red, green and blue.

    The colors of indices 1 to 255 are distinct and not black, so they also suit data sets that publish no colors.

    Args:
        count: number of colors.
        first: the index of the first color; 0 for VOC's own classes, whose background is black.
    """
    colors = []
    for index in range(first, first + count):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        colors.append((rgb[0], rgb[1], rgb[2]))
    return colors
