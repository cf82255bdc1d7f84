"""What the fusion by evidence weighs: log-odds of the masks and of the semantic map.

(H, W) = the image, K = semantic ids, N = candidates.
"""

from dataclasses import dataclass

import numpy as np

from unified_seg_arrays.class_table import ClassTable
from unified_seg_arrays.fusion.steps import Candidates
from unified_seg_arrays.levels import LEVELS

# Of a mask's level: the log-odds of the middle of its interval, so that no source is ever certain: -6.2 to 6.2.
_MIDDLES = (np.arange(LEVELS) + 0.5) / LEVELS
LOG_ODDS = np.log(_MIDDLES / (1 - _MIDDLES)).astype(np.float32)
# By how much the log-odds of a mask fall in each of its cells beyond its outline, where it predicts nothing.
FALL_PER_CELL = 0.5
# The mean confidence of a component of labels that becomes an instance without a detection. Detectors miss few
# objects of which the map is sure; below, most of such components are specks of a wrong label.
FOUND_CONFIDENCE = 0.9


def group_classes(table: ClassTable) -> np.ndarray:
    """Return (K,) int64: 0 for stuff, from 1 a number of each category of things."""
    categories = np.where(table.is_thing, table.category_of + 1, 0)
    return np.unique(np.append(categories, 0), return_inverse=True)[1][:-1].astype(np.int64)


@dataclass(frozen=True)
class Weights:
    """The log-odds that a pixel adds for a candidate, by levels.

    Attributes:
        mask: (N, 256) float32, of the level of its mask.
        map: (N, 256) float32, of the category confidence of a label of its category; on other labels with a minus.
        limits: (N,) int64: how many pixels a candidate grows.
        sure: (N,) int64: it names the class where the label's confidence is lower.
    """

    mask: np.ndarray
    map: np.ndarray
    limits: np.ndarray
    sure: np.ndarray


def weigh(cells: np.ndarray, candidates: Candidates, cell: float) -> Weights:
    """Weigh the map's log-odds by how fine it is beside the mask: by the mask's share of the sum of both cells' areas.

    A candidate grows by a cell of its mask, by which the mask may be wrong, or farther: as far as the log-odds of a map
    that is certain outweigh those of the mask.

    Args:
        cells: float32, the side in pixels of what the mask of each given instance resolves.
        candidates: N of them.
        cell: the side in pixels of what the semantic map resolves.
    """
    order = candidates.order
    cells = cells.astype(np.float64)[order]
    shares = cells**2 / (cells**2 + cell**2)
    limits = cells * np.maximum(shares * LOG_ODDS[-1] / FALL_PER_CELL, 1)
    # A label of the category never speaks against it, even if the category has less than half of the probability.
    return Weights(
        mask=np.broadcast_to(LOG_ODDS, (len(order), LEVELS)),
        map=shares.astype(np.float32)[:, None] * np.maximum(LOG_ODDS, 0),
        limits=np.floor(limits).astype(np.int64),
        sure=np.ceil(np.array([candidates.scores[index] for index in order]) * LEVELS - 0.5).astype(np.int64),
    )
