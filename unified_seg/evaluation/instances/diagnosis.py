"""What costs average precision: kinds of errors, scores that mislead, and labels that the detections contradict.

N = images.

Sources: Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors (2020), sections 2.2 and 2.3; Guo
et al., On Calibration of Modern Neural Networks (2017), section 2. Both by hotcoco.
"""

import math
from collections.abc import Sequence
from typing import Any

import hotcoco
import numpy as np

from unified_seg.evaluation.base import Record, Scores
from unified_seg.evaluation.instances.objects import ImageInstances

MATCH_IOU = 0.5
BACKGROUND_IOU = 0.1
#: TIDE's kinds of errors.
KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
#: A detection with a lower score does not speak against a label, and is not counted in an image.
CONFIDENT_SCORE = 0.5


def diagnose(
    matches: hotcoco.COCOeval, images: Sequence[ImageInstances], class_names: Sequence[str]
) -> tuple[Scores, dict[str, Any]]:
    """Compute what AP50 loses to each kind of error, and the calibration error of the scores.

    Args:
        matches: see `match_instances`; with at least one ground-truth instance.
        images: those of the matches.
        class_names: by thing id.

    Returns:
        Cls, Loc, Both, Dupe, Bkg and Miss, the points that AP50 would gain without these errors, and ECE, the expected
        calibration error in percent; and a description for a JSON file with also the number of errors of each kind, the
        curves of precision over recall, the bins of the calibration, and its error by class. As in TIDE, Miss takes
        missed objects out of the ground truth, so that a class that is missed altogether gains nothing. ECE is NaN
        without detections that count, and if a score is not in [0, 1].
    """
    errors = matches.tide_errors(pos_thr=MATCH_IOU, bg_thr=BACKGROUND_IOU)
    scores = {kind: 100 * errors["delta_ap"][kind] for kind in KINDS}
    calibration = _calibrate(matches, images, class_names)
    scores["ECE"] = calibration["ECE"] if calibration else math.nan
    return scores, {
        "task": matches.params.iou_type,
        "match_iou": MATCH_IOU,
        "background_iou": BACKGROUND_IOU,
        "AP50": 100 * errors["ap_base"],
        "errors": {kind: {"AP50_lost": scores[kind], "number": errors["counts"][kind]} for kind in KINDS},
        "precision_recall": compute_curves(matches),
        "calibration": calibration,
    }


def compute_curves(matches: hotcoco.COCOeval) -> dict[str, list[float]]:
    """Compute precision over recall, the mean over the classes with ground truth; AP50 is the mean of its curve.

    Args:
        matches: see `match_instances`.

    Returns:
        "recall", and "AP50" and "AP75", the precision at these IoU thresholds; each with 101 values in [0, 1].
    """
    if matches.eval is None:
        matches.accumulate()
    assert matches.eval is not None
    precision = np.ma.masked_less(matches.eval["precision"][:, :, :, 0, -1], 0)  # (IoU threshold, recall, class)
    thresholds = np.array(matches.params.iou_thrs)
    curves = {"recall": np.array(matches.params.rec_thrs)}
    for name, threshold in (("AP50", 0.5), ("AP75", 0.75)):
        curves[name] = precision[np.isclose(thresholds, threshold)][0].mean(axis=1).filled(0)
    return {name: [round(float(value), 6) for value in values] for name, values in curves.items()}


def inspect_images(matches: hotcoco.COCOeval) -> dict[str, Any]:
    """Return what hotcoco knows of single detections and objects, for the functions below."""
    return matches.image_diagnostics(iou_thr=MATCH_IOU, score_thr=CONFIDENT_SCORE)


def count_per_image(inspected: dict[str, Any], images: Sequence[ImageInstances]) -> np.ndarray:
    """Count true positives, false positives and false negatives of each image at an IoU of 1/2.

    Args:
        inspected: see `inspect_images`.
        images: those of the matches. Detections with a score below 0.5 are left out.

    Returns:
        (N, 3) int64.
    """
    counts = np.zeros((len(images), 3), dtype=np.int64)
    number = 0
    for row, image in zip(counts, images):
        for detection in image.detections:
            number += 1
            if detection.score >= CONFIDENT_SCORE:
                status = inspected["dt_status"].get(number)
                row[:2] += status == "tp", status == "fp"
        row[2] = sum(not each.is_crowd for each in image.ground_truth) - row[0]
    return counts


def _calibrate(
    matches: hotcoco.COCOeval, images: Sequence[ImageInstances], class_names: Sequence[str]
) -> dict[str, Any] | None:
    """Return the calibration for a JSON file; None if it is undefined."""
    if not all(0 <= each.score <= 1 for image in images for each in image.detections):
        return None
    found = matches.calibration(iou_threshold=MATCH_IOU)
    if not found["num_detections"]:
        return None
    bins = [
        {
            "score": [each["bin_lower"], each["bin_upper"]],
            "mean_score": each["avg_confidence"],
            "precision": each["avg_accuracy"],
            "detections": each["count"],
        }
        for each in found["bins"]
        if each["count"]
    ]
    of_class = found["per_category"]
    return {
        "detections": found["num_detections"],
        "ECE": 100 * found["ece"],
        "MCE": 100 * found["mce"],
        "bins": bins,
        "ECE_by_class": {name: 100 * of_class[name] for name in class_names if name in of_class},
    }


def find_label_errors(
    inspected: dict[str, Any],
    images: Sequence[ImageInstances],
    records: Sequence[Record],
    class_names: Sequence[str],
) -> list[dict[str, Any]]:
    """List labels that may be wrong or missing, since a detection with a score of at least 0.5 contradicts them.

    Args:
        inspected: see `inspect_images`.
        images: those of the matches.
        records: of the images.
        class_names: by thing id.

    Returns:
        For each, highest score first: image_id, file_name, kind ("wrong_label": the box of an object that no detection
        matches is that of a detection of another class; "missing_annotation": the detection is where no object is),
        the class, score and box (x, y, width, height) of the detection, and the class of the object or None.
    """
    detections = [(image, each) for image, item in enumerate(images) for each in item.detections]
    result = []
    for error in inspected["label_errors"]:
        image, detection = detections[error["dt_id"] - 1]
        labeled = error["gt_category_id"]
        result.append(
            {
                "image_id": records[image]["image_id"],
                "file_name": str(records[image]["file_name"]),
                "kind": error["type"],
                "predicted": class_names[detection.thing_id],
                "labeled": None if labeled is None else class_names[labeled],
                "score": detection.score,
                "box": [float(value) for value in detection.box],
            }
        )
    return result
