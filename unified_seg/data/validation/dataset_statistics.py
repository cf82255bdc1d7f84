"""Statistics of a data set: how often each class occurs, and the sizes of images and instances.

K = semantic classes, N = instances.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from unified_seg.structures.class_table import ClassTable, SegmentClass

# The quantiles in the summary of a distribution; 0 and 1 give minimum and maximum.
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class InstanceMeasures(NamedTuple):
    """The things of an image.

    Attributes:
        thing_ids: (N,) int64.
        crowds: (N,) bool.
        sizes: (N, 3) int64: pixels, and height and width of the box.
    """

    thing_ids: np.ndarray
    crowds: np.ndarray
    sizes: np.ndarray

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[int, bool, int, int, int]]) -> "InstanceMeasures":
        """Return the instances of rows of thing id, crowd, pixels, height, width."""
        table = np.array(rows, dtype=np.int64).reshape(-1, 5)
        return cls(table[:, 0], table[:, 1].astype(bool), table[:, 2:])


class ImageContents(NamedTuple):
    """The contents of an image and its ground truth, as far as they are readable.

    Attributes:
        size: (height, width) of the upright image; None: unreadable.
        pixels: of each semantic id that occurs; None: the record has no semantic ground truth.
        instances: None: the record has no ground truth of instances.
        num_void: pixels without a class; None: unknown.
    """

    size: tuple[int, int] | None
    pixels: dict[int, int] | None
    instances: InstanceMeasures | None
    num_void: int | None = None


class ClassStatistics(NamedTuple):
    """How often a class occurs.

    Attributes:
        pixels: with its semantic id; None if there is no such ground truth, or several things share the id.
        images: with a pixel or an instance of the class.
        instances: without crowds; None for stuff, or if there is no such ground truth.
        crowds: None as for `instances`.
    """

    name: str
    color: tuple[int, int, int]
    is_thing: bool
    pixels: int | None
    images: int
    instances: int | None
    crowds: int | None

    @property
    def is_empty(self) -> bool:
        """Whether the class never occurs."""
        if self.instances is not None:
            return not self.instances and not self.crowds
        return self.pixels == 0


class Statistics(NamedTuple):
    """The statistics of a data set; crowds count in `classes` only.

    Attributes:
        classes: in the order of the class table.
        image_sizes: how many images have each (height, width).
        instance_sizes: (N, 3) int64: pixels, and height and width of the box.
        instances_per_image: of each image with a ground truth of instances.
        classes_per_image: of each image.
        void_share: the fraction of pixels without a class, of images with a semantic ground truth; None without one.
    """

    classes: list[ClassStatistics]
    image_sizes: dict[tuple[int, int], int]
    instance_sizes: np.ndarray
    instances_per_image: list[int]
    classes_per_image: list[int]
    void_share: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return counts, and distributions as their values at QUANTILES; None for an empty distribution."""
        areas, heights, widths = self.instance_sizes.T
        distributions = {
            "instance_area": areas,
            "instance_height": heights,
            "instance_width": widths,
            "instances_per_image": self.instances_per_image,
            "classes_per_image": self.classes_per_image,
        }
        return {
            "classes": [cls._asdict() for cls in self.classes],
            "image_sizes": [{"height": h, "width": w, "images": n} for (h, w), n in self.image_sizes.items()],
            "void_share": self.void_share,
            **{name: compute_quantiles(values) for name, values in distributions.items()},
        }


def compute_quantiles(values: Sequence[int] | np.ndarray) -> dict[str, float] | None:
    """Return the values at QUANTILES by percent: {"0": minimum, ..., "50": median, ..., "100": maximum}."""
    if not len(values):
        return None
    return {f"{100 * q:.0f}": float(v) for q, v in zip(QUANTILES, np.quantile(values, QUANTILES))}


def compute_statistics(images: Sequence[ImageContents], table: ClassTable) -> Statistics:
    """Return the statistics of a data set.

    Args:
        images: the contents of each.
        table: the classes.
    """
    measures = [image.instances for image in images if image.instances is not None]
    present = [_find_classes(image, table) for image in images]
    sizes = Counter(image.size for image in images if image.size is not None)
    return Statistics(
        classes=_compute_class_statistics(images, present, table),
        image_sizes=dict(sorted(sizes.items())),
        instance_sizes=np.concatenate([np.zeros((0, 3), dtype=np.int64), *(m.sizes[~m.crowds] for m in measures)]),
        instances_per_image=[int((~m.crowds).sum()) for m in measures],
        classes_per_image=[len(classes) for classes in present],
        void_share=_compute_void_share(images),
    )


def _compute_void_share(images: Sequence[ImageContents]) -> float | None:
    known = [image for image in images if image.num_void is not None and image.pixels is not None]
    void = sum(image.num_void or 0 for image in known)
    labeled = sum(sum((image.pixels or {}).values()) for image in known)
    return void / (void + labeled) if known else None


def _has_own_id(cls: SegmentClass, table: ClassTable) -> bool:
    return not cls.is_thing or table.semantic_to_thing[cls.semantic_id] == cls.thing_id


def _find_classes(image: ImageContents, table: ClassTable) -> set[str]:
    things = set() if image.instances is None else set(image.instances.thing_ids.tolist())
    semantic = image.pixels or {}
    return {
        c.name for c in table.classes if c.thing_id in things or (c.semantic_id in semantic and _has_own_id(c, table))
    }


def _compute_class_statistics(
    images: Sequence[ImageContents], present: Sequence[set[str]], table: ClassTable
) -> list[ClassStatistics]:
    pixels: Counter[int] = Counter()
    instances, crowds = (np.zeros(table.num_things, dtype=np.int64) for _ in range(2))
    for image in images:
        pixels.update(image.pixels or {})
        if image.instances is not None:
            ids, is_crowd = image.instances.thing_ids, image.instances.crowds
            instances += np.bincount(ids[~is_crowd], minlength=table.num_things)
            crowds += np.bincount(ids[is_crowd], minlength=table.num_things)
    with_class = Counter(name for names in present for name in names)
    pixels_known = any(image.pixels is not None for image in images)
    instances_known = any(image.instances is not None for image in images)
    return [
        ClassStatistics(
            name=c.name,
            color=c.color,
            is_thing=c.is_thing,
            pixels=pixels[c.semantic_id] if pixels_known and _has_own_id(c, table) else None,
            images=with_class[c.name],
            instances=int(instances[c.thing_id]) if instances_known and c.thing_id is not None else None,
            crowds=int(crowds[c.thing_id]) if instances_known and c.thing_id is not None else None,
        )
        for c in table.classes
    ]
