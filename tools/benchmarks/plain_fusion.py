"""Semantic-guided fusion in plain Python on whole images: simple and slow.

The benchmark `fusion` asserts equality with it, and has its filling as a peer.
"""

from typing import Any

import cv2
import numpy as np
from torch import Tensor

from unified_seg.structures.class_table import ClassTable

from .streets import Street

SCORE_THRESHOLD = OVERLAP_THRESHOLD = 0.5
MIN_STUFF_AREA, MIN_SEGMENT_AREA = 0.002, 0.0005
#: Segment id -> (isthing, category_id).
Classes = dict[int, tuple[bool, int]]


def fuse_plainly(street: Street, table: ClassTable) -> tuple[np.ndarray, Classes]:
    """Fuse like `fuse_semantic_guided` with its default options; return segment ids (0 = void) and classes."""
    labels = street.labels.numpy()
    owners, regions, kept = match_plainly(street, table)
    ids, _ = grow_plainly(owners, regions)
    classes: Classes = {number: (True, thing_id) for number, thing_id in kept.items()}
    for thing in table.things:
        left = (labels == thing.semantic_id) & (ids == 0)
        for part in _components(left, MIN_SEGMENT_AREA * labels.size):
            classes[number := len(classes) + 1] = (True, thing.category_id)
            ids[part] = number
    for semantic_id in np.flatnonzero(~table.is_thing).tolist():
        stuff = labels == semantic_id
        if stuff.any() and stuff.sum() >= MIN_STUFF_AREA * labels.size:
            classes[number := len(classes) + 1] = (False, semantic_id)
            ids[stuff] = number
    return ids, classes


def match_plainly(street: Street, table: ClassTable) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """Match instances to the semantic map.

    Returns:
        (H, W) int32 owners, 0 = free; (H, W) int64 regions, 0 = stuff; and the thing id of each owner.
    """
    labels = street.labels.numpy()
    category = table.category_of[labels] + 1
    regions = np.where(table.is_thing[labels], category, 0)
    owners = np.zeros(labels.shape, dtype=np.int32)
    kept: dict[int, int] = {}
    masks = street.masks().full().numpy()
    for index in np.argsort(-street.scores.numpy(), kind="stable").tolist():
        thing_id = int(street.thing_ids[index])
        wanted = masks[index] & (regions == table.category_of[table.thing_to_semantic[thing_id]] + 1)
        free = wanted & (owners == 0)
        taken = wanted.sum() - free.sum()
        if street.scores[index] < SCORE_THRESHOLD or not free.any() or taken / wanted.sum() > OVERLAP_THRESHOLD:
            continue
        kept[len(kept) + 1] = thing_id
        owners[free] = len(kept)
    return owners, regions, kept


def grow_plainly(owners: np.ndarray, regions: np.ndarray) -> tuple[np.ndarray, int]:
    """Grow regions like `grow_regions` with connectivity 4, by breadth-first search; return the number of levels too.

    The pixels of a level are in the order of their owners, so the first owner that reaches a pixel is the smallest.
    """
    width = owners.shape[1] + 2
    framed = np.pad(owners, 1).reshape(-1)
    inside = np.pad(regions, 1).reshape(-1)
    seeds = np.flatnonzero((framed > 0) & (inside > 0))
    level = seeds[np.argsort(framed[seeds], kind="stable")].tolist()
    owner, region = framed.tolist(), inside.tolist()
    levels = 0
    while level:
        reached = []
        for pixel in level:
            for other in (pixel - width, pixel - 1, pixel + 1, pixel + width):
                if owner[other] == 0 and region[other] == region[pixel]:
                    owner[other] = owner[pixel]
                    reached.append(other)
        level = reached
        levels += bool(reached)
    return np.array(owner, dtype=np.int32).reshape(-1, width)[1:-1, 1:-1], levels


def assert_same_segments(
    ids: Tensor,
    infos: list[dict[str, Any]],
    other_ids: np.ndarray,
    other_classes: Classes,
    leave_out: np.ndarray | None = None,
) -> None:
    """Assert that two panoptic maps have the same segments of the same classes, whatever their ids.

    Args:
        ids: (H, W) integer, 0 = void.
        infos: the segments of `ids`: id, isthing, category_id.
        other_ids: (H, W) integer, 0 = void.
        other_classes: the class of each segment of `other_ids`.
        leave_out: (H, W) bool, pixels that may differ.
    """
    classes = {info["id"]: (info["isthing"], info["category_id"]) for info in infos}
    assert len(classes) == len(other_classes), f"{len(classes)} and {len(other_classes)} segments"
    both = np.stack([ids.cpu().numpy(), other_ids], axis=-1).astype(np.int64)
    both = both.reshape(-1, 2) if leave_out is None else both[~leave_out]
    unit = int(both[:, 1].max()) + 1
    pairs = [divmod(pair, unit) for pair in np.unique(both[:, 0] * unit + both[:, 1]).tolist()]
    for number, other in pairs:
        assert classes.get(number) == other_classes.get(other), f"segment {number} overlaps {other} of another class"
    for side, numbers in zip(("method", "peer"), zip(*pairs)):
        assert len(set(numbers)) == len(pairs), f"a segment of the {side} overlaps several of the other side"


def _components(mask: np.ndarray, min_area: float) -> list[np.ndarray]:
    count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    parts = [numbers == number for number in range(1, count)]
    return [part for part in parts if part.sum() >= min_area]
