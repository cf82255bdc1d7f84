"""A plain reference of the fusion by evidence: pixel by pixel, with the formulas of its docstring."""

import math
from collections.abc import Mapping
from functools import cache
from itertools import count

import numpy as np
from fusion_reference import neighbors, reference_components

from unified_seg.fusion.semantic_guided import SemanticGuidedOptions
from unified_seg.structures.class_table import ClassTable


@cache
def log_odds(level: int) -> np.float32:
    p = (level + 0.5) / 256
    return np.float32(math.log(p / (1 - p)))


def reference_evidence(
    label: int,
    category_level: int,
    mask_level: int,
    mask_cell: float,
    map_cell: float,
    semantic: int,
    category: Mapping[int, object],
    ignore_label: int,
) -> np.float32:
    """Return the evidence of an instance of a semantic id at a pixel; `category` has those of the things."""
    share = np.float32(mask_cell**2 / (mask_cell**2 + map_cell**2))
    of_mask = log_odds(mask_level)
    of_map = share * max(log_odds(category_level), np.float32(0))
    if label == ignore_label:
        return of_mask
    return of_mask + of_map if category.get(label) == category[semantic] else of_mask - of_map


def reference_limit(mask_cell: float, map_cell: float) -> int:
    """Return how many pixels an instance grows: a cell, or as far as a certain map outweighs half a unit a cell."""
    share = mask_cell**2 / (mask_cell**2 + map_cell**2)
    return math.floor(mask_cell * max(1, share * float(log_odds(255)) / 0.5))


def grow_with_distances(owners: np.ndarray, regions: np.ndarray, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest owner of each pixel, by levels, and its distance; 0 = none."""
    owners, distances, distance = owners.copy(), np.zeros(owners.shape, dtype=int), 0
    while True:
        distance += 1
        level = {}
        for pixel in zip(*np.nonzero((owners == 0) & (regions > 0))):
            near = [owners[q] for q in neighbors(pixel, owners.shape, connectivity) if regions[q] == regions[pixel]]
            if any(near):
                level[pixel] = min(owner for owner in near if owner)
        if not level:
            return owners, distances
        for pixel, owner in level.items():
            owners[pixel], distances[pixel] = owner, distance


def reference_by_evidence(
    labels: np.ndarray,
    confidences: np.ndarray,
    categories: np.ndarray,
    map_cell: float,
    levels: list[tuple[tuple[int, int, int, int], np.ndarray]],
    cells: list[float],
    thing_ids: list[int],
    scores: list[float],
    table: ClassTable,
    options: SemanticGuidedOptions,
) -> tuple[np.ndarray, np.ndarray, list[dict[str, object]]]:
    """Return panoptic ids, refined labels, and segments as (category_id, isthing, area, instance_id or None)."""
    semantic_of = [table.things[thing].semantic_id for thing in thing_ids]
    category = {c.semantic_id: 1 + table.categories.index(c.category) for c in table.things}
    # 1. and 2. evidence and claims
    owners, strongest = np.zeros(labels.shape, dtype=int), np.zeros(labels.shape, dtype=np.float32)
    kept: list[int] = []
    label_rows, category_rows = labels.tolist(), categories.tolist()  # faster to read than arrays
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        (x0, y0, x1, y1), window = levels[i][0], levels[i][1].tolist()
        more = (cells[i], map_cell, semantic_of[i], category, table.ignore_label)
        evidence = {
            (y, x): reference_evidence(label_rows[y][x], category_rows[y][x], window[y - y0][x - x0], *more)
            for y in range(y0, y1)
            for x in range(x0, x1)
        }
        claimed = [pixel for pixel, value in evidence.items() if value > 0]
        taken = sum(strongest[pixel] > 0 for pixel in claimed)
        if (
            scores[i] < options.score_threshold
            or taken == len(claimed)
            or taken / len(claimed) > options.overlap_threshold
        ):
            continue
        kept.append(i)
        for pixel in claimed:
            if evidence[pixel] > strongest[pixel]:
                strongest[pixel], owners[pixel] = evidence[pixel], len(kept)
    # 3. growth
    regions = np.array([[category.get(int(label), 0) for label in row] for row in labels])
    own = np.array([0, *(category[semantic_of[i]] for i in kept)])[owners]
    passable = np.where((owners > 0) & (own != regions), 0, regions)
    grown, distances = grow_with_distances(np.where(passable > 0, owners, 0), passable, options.connectivity)
    limits = np.array([0, *(reference_limit(cells[i], map_cell) for i in kept)])
    reached = np.where(distances <= limits[grown], grown, 0)
    final = np.where(owners > 0, owners, reached)
    # 4. what nobody reaches
    names = [semantic_of[i] for i in kept]
    instances = [(table.things[thing_ids[i]].category_id, i, math.ceil(scores[i] * 256 - 0.5)) for i in kept]
    new_index = count(len(scores))
    for component in reference_components(labels, (passable > 0) & (grown == 0), options.connectivity):
        semantic_id = int(labels[component[0]])
        named = [c for c in table.things if c.semantic_id == semantic_id]
        is_sure = sum(int(confidences[p]) for p in component) >= 0.9 * 256 * len(component)
        if len(component) >= options.min_segment_area * labels.size and len(named) == 1 and is_sure:
            names.append(semantic_id)
            instances.append((named[0].category_id, next(new_index), 256))
            for pixel in component:
                final[pixel] = len(names)
    # 5. and 6.
    ids, refined = np.zeros(labels.shape, dtype=int), labels.copy()
    segments: list[dict[str, object]] = []
    for owner, (category_id, index, sure) in enumerate(instances, start=1):
        area = int((final == owner).sum())
        if area:
            segments.append({"category_id": category_id, "isthing": True, "area": area, "instance_id": index})
            ids[final == owner] = len(segments)
            refined[(final == owner) & (confidences < sure)] = names[owner - 1]
    for semantic_id in range(table.num_semantic):
        stuff = (labels == semantic_id) & (final == 0)
        if semantic_id not in category and stuff.any() and stuff.sum() >= options.min_stuff_area * labels.size:
            segments.append({"category_id": semantic_id, "isthing": False, "area": int(stuff.sum())})
            ids[stuff] = len(segments)
    return ids, refined, segments
