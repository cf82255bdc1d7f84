"""A plain reference of the semantic-guided fusion: sets of pixels, breadth first, pixel by pixel."""

from functools import cache
from itertools import count

import numpy as np

from unified_seg.fusion.semantic_guided import SemanticGuidedOptions
from unified_seg.structures.class_table import ClassTable

Pixel = tuple[int, int]


@cache
def neighbors(pixel: Pixel, shape: tuple[int, ...], connectivity: int) -> list[Pixel]:
    y, x = pixel
    steps = [
        (a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if abs(a) + abs(b) in ((1,) if connectivity == 4 else (1, 2))
    ]
    return [(y + a, x + b) for a, b in steps if 0 <= y + a < shape[0] and 0 <= x + b < shape[1]]


def reference_grow(owners: np.ndarray, regions: np.ndarray, connectivity: int) -> np.ndarray:
    """Grow by levels: each free pixel next to the last level takes the smallest owner among its neighbors there."""
    owners = owners.copy()
    while True:
        level: dict[Pixel, int] = {}
        for pixel in zip(*np.nonzero((owners == 0) & (regions > 0))):
            near = [owners[q] for q in neighbors(pixel, owners.shape, connectivity) if regions[q] == regions[pixel]]
            if any(near):
                level[pixel] = min(owner for owner in near if owner)
        if not level:
            return owners
        for pixel, owner in level.items():
            owners[pixel] = owner


def reference_components(labels: np.ndarray, inside: np.ndarray, connectivity: int) -> list[list[Pixel]]:
    """Return the connected pixels of equal label, in the order of their first pixels."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(inside))}
    components = []
    for start in sorted(left):
        if start not in left:
            continue
        left.remove(start)
        component = [start]
        for pixel in component:
            for q in neighbors(pixel, labels.shape, connectivity):
                if q in left and labels[q] == labels[pixel]:
                    left.remove(q)
                    component.append(q)
        components.append(component)
    return components


def reference_fusion(
    labels: np.ndarray,
    masks: np.ndarray,
    thing_ids: list[int],
    scores: list[float],
    table: ClassTable,
    options: SemanticGuidedOptions,
) -> tuple[np.ndarray, np.ndarray, list[dict[str, object]]]:
    """Return panoptic ids, refined labels, and segments as (category_id, isthing, area, instance_id or None)."""
    things = {c.semantic_id for c in table.things}
    category = {c.semantic_id: c.category for c in table.classes}
    # 1. the foreground, by category
    regions = np.zeros(labels.shape, dtype=int)
    for semantic_id in things:
        regions[labels == semantic_id] = 1 + table.categories.index(category[semantic_id])
    # 2. matching
    owners = np.zeros(labels.shape, dtype=int)
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        own_category = category[table.things[thing_ids[i]].semantic_id]
        matched = masks[i] & (regions == 1 + table.categories.index(own_category))
        free = matched & (owners == 0)
        if scores[i] < options.score_threshold or not free.any():
            continue
        if (matched.sum() - free.sum()) / matched.sum() > options.overlap_threshold:
            continue
        kept.append(i)
        owners[free] = len(kept)
    # 3. filling
    owners = reference_grow(owners, regions, options.connectivity)
    # 4. what cannot be reached
    semantic_of = [table.things[thing_ids[i]].semantic_id for i in kept]
    instances = [(table.things[thing_ids[i]].category_id, i) for i in kept]
    new_index = count(len(scores))
    for component in reference_components(labels, (regions > 0) & (owners == 0), options.connectivity):
        semantic_id = int(labels[component[0]])
        named = [c for c in table.things if c.semantic_id == semantic_id]
        if len(component) >= options.min_segment_area * labels.size and len(named) == 1:
            semantic_of.append(semantic_id)
            instances.append((named[0].category_id, next(new_index)))
            for pixel in component:
                owners[pixel] = len(semantic_of)
    # 5. and 6.
    ids, refined = owners.copy(), labels.copy()
    segments: list[dict[str, object]] = []
    for owner, (category_id, index) in enumerate(instances, start=1):
        refined[owners == owner] = semantic_of[owner - 1]
        area = int((owners == owner).sum())
        segments.append({"category_id": category_id, "isthing": True, "area": area, "instance_id": index})
    for semantic_id in range(table.num_semantic):
        stuff = labels == semantic_id
        if semantic_id not in things and stuff.any() and stuff.sum() >= options.min_stuff_area * labels.size:
            ids[stuff] = len(segments) + 1
            area = int(stuff.sum())
            segments.append({"category_id": semantic_id, "isthing": False, "area": area})
    return ids, refined, segments
