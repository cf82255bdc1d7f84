"""The matches of detections and objects in a file, from which AP on any of the images can be computed.

D = detections, M = objects, N = images, T = IoU thresholds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np

from unified_seg.ops.metrics.average_precision import RIGHT, UNCOUNTED, WRONG, InstanceMatches
from unified_seg_files import read_arrays, write_arrays

MATCHES_FILE = "instance_matches.npz"


def collect_matches(found: hotcoco.COCOeval) -> InstanceMatches:
    """Return the matches of objects of all sizes at COCO's IoU thresholds, 0.5 to 0.95.

    Args:
        found: see `match_instances`.
    """
    all_sizes = found.params.area_rng[found.params.area_rng_lbl.index("all")]
    parts = [each for each in found.eval_imgs if each and list(each["aRng"]) == list(all_sizes)]
    in_denominator = [np.array(each["gtInDenominator"], dtype=bool) for each in parts]
    of_detections = [len(each["dtScores"]) for each in parts]
    of_objects = [int(counted.sum()) for counted in in_denominator]
    image, thing_id = (np.array([each[key] for each in parts], dtype=np.int64) for key in ("image_id", "category_id"))
    outcomes = [_judge(each, len(found.params.iou_thrs)) for each in parts]
    return InstanceMatches(
        image=np.repeat(image, of_detections),
        thing_id=np.repeat(thing_id, of_detections),
        score=np.array([score for each in parts for score in each["dtScores"]], dtype=np.float64),
        outcome=np.concatenate(outcomes) if outcomes else np.zeros((0, len(found.params.iou_thrs)), dtype=np.int8),
        object_image=np.repeat(image, of_objects),
        object_thing_id=np.repeat(thing_id, of_objects),
    )


def write_matches(path: Path, image_ids: Sequence[Any], matches: InstanceMatches) -> None:
    """Write matches and the ids of their images as a compressed .npz file; see `write_arrays` for its errors."""
    write_arrays(path, image_ids=np.array(image_ids), **matches._asdict())


def read_matches(path: Path) -> tuple[np.ndarray, InstanceMatches]:
    """Return the (N,) ids of the images and the matches that `write_matches` wrote.

    Raises:
        OSError: it can't be read.
        ValueError: it is not such a file.
    """
    ids, *arrays = read_arrays(path, ["image_ids", *InstanceMatches._fields])
    matches = InstanceMatches(*arrays)
    numbers = (matches.image, matches.thing_id, matches.object_image, matches.object_thing_id)
    is_valid = (
        all(each.dtype == np.int64 and each.ndim == 1 and (each >= 0).all() for each in numbers)
        and ids.dtype.kind in "Uiu"
        and ids.ndim == 1
        and all((each < len(ids)).all() for each in (matches.image, matches.object_image))
        and matches.score.dtype == np.float64
        and matches.outcome.dtype == np.int8
        and matches.outcome.ndim == 2
        and np.isin(matches.outcome, (RIGHT, WRONG, UNCOUNTED)).all()
        and len(matches.image) == len(matches.thing_id) == len(matches.outcome)
        and matches.score.shape == matches.image.shape
        and matches.object_image.shape == matches.object_thing_id.shape
    )
    if not is_valid:
        raise ValueError("its arrays are not the matches of an evaluation")
    return ids, matches


def _judge(part: dict[str, Any], thresholds: int) -> np.ndarray:
    """Return the outcomes of a class's detections in an image: (D, T) int8."""
    shape = (thresholds, len(part["dtScores"]))
    matched, ignored = (np.array(part[key], dtype=bool).reshape(shape) for key in ("dtMatched", "dtIgnore"))
    return np.where(ignored, UNCOUNTED, np.where(matched, RIGHT, WRONG)).astype(np.int8).T
