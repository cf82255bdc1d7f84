"""COCO's average precision of resampled images, from the matches of one evaluation.

Source: Lin et al., Microsoft COCO: Common Objects in Context (2014); the rules are those of pycocotools.

D = detections, M = objects, N = images, T = IoU thresholds, R = resamples.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

#: Outcomes of a detection. The last one counts neither as right nor as wrong, such as a detection of a crowd.
RIGHT, WRONG, UNCOUNTED = 1, 0, -1
RECALL_LEVELS = np.linspace(0, 1, 101)


class InstanceMatches(NamedTuple):
    """Which detections of N images are right, at T IoU thresholds.

    Attributes:
        image: (D,) int64, the number of each detection's image, from 0 to N - 1.
        thing_id: (D,) int64.
        score: (D,) float64.
        outcome: (D, T) int8, RIGHT, WRONG or UNCOUNTED.
        object_image, object_thing_id: (M,) int64, of the objects to be found.
    """

    image: np.ndarray
    thing_id: np.ndarray
    score: np.ndarray
    outcome: np.ndarray
    object_image: np.ndarray
    object_thing_id: np.ndarray


def compute_resampled_ap(matches: InstanceMatches, drawn: np.ndarray) -> np.ndarray:
    """Compute the AP of resamples in which an image may occur never, once or several times.

    Args:
        matches: of the N images.
        drawn: (R, N) integers, how often each image occurs in each resample; all 1: the images as they are.

    Returns:
        (R,) float64 in percent: the mean over the classes that have an object in the resample; NaN without one.
    """
    weights = torch.from_numpy(np.ascontiguousarray(drawn, dtype=np.float64))
    classes = [_average_class(matches, thing_id, weights) for thing_id in np.unique(matches.object_thing_id)]
    if not classes:
        return np.full(len(drawn), np.nan)
    return 100 * torch.stack(classes).nanmean(dim=0).numpy()


def _average_class(matches: InstanceMatches, thing_id: int, weights: Tensor) -> Tensor:
    """Return (R,), the AP of a class in [0, 1]; NaN where it has no object."""
    chosen = np.flatnonzero(matches.thing_id == thing_id)
    chosen = chosen[np.argsort(-matches.score[chosen], kind="stable")]
    outcomes = torch.from_numpy(matches.outcome[chosen])
    of_detections = weights[:, torch.from_numpy(matches.image[chosen])]
    of_objects = weights[:, torch.from_numpy(matches.object_image[matches.object_thing_id == thing_id])]
    objects = of_objects.sum(dim=1, keepdim=True)
    levels = torch.from_numpy(RECALL_LEVELS).repeat(len(weights), 1)
    total = torch.zeros(len(weights), dtype=torch.float64)
    for outcome in outcomes.unbind(dim=1):
        right, wrong = ((of_detections * (outcome == each)).cumsum(dim=1) for each in (RIGHT, WRONG))
        precision = right / (right + wrong).clamp(min=1)
        # The best precision at this recall or a higher one; 0 at recalls that are not reached.
        envelope = torch.cat([precision, torch.zeros_like(objects)], dim=1).flip(1).cummax(dim=1).values.flip(1)
        reached = torch.searchsorted(right / objects.clamp(min=1), levels)
        total += envelope.gather(1, reached).mean(dim=1)
    return torch.where(objects[:, 0] > 0, total / outcomes.shape[1], torch.nan)
