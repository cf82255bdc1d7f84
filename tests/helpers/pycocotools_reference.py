"""Average precision by pycocotools, from the same objects that the evaluator scores."""

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any

from pycocotools import mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unified_seg.evaluation.instances.objects import ImageInstances


def score_by_pycocotools(
    images: Sequence[ImageInstances], task: str, class_names: Sequence[str], max_detections: int
) -> dict[str, float]:
    """Return the scores that `compute_average_precision` describes."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            _make_coco(images, "ground_truth", len(class_names), task),
            _make_coco(images, "detections", len(class_names), task),
            task,
        )
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0]  # (IoU threshold, recall, class, size)
    chosen = {
        "AP": precision[..., 0],
        "AP50": precision[0, ..., 0],
        "AP75": precision[5, ..., 0],
        "APs": precision[..., 1],
        "APm": precision[..., 2],
        "APl": precision[..., 3],
    }
    chosen |= {f"AP-{name}": precision[:, :, thing_id, 0] for thing_id, name in enumerate(class_names)}
    return {
        key: 100 * float(values[values > -1].mean()) if (values > -1).any() else math.nan
        for key, values in chosen.items()
    }


def _make_coco(images: Sequence[ImageInstances], which: str, num_classes: int, task: str) -> COCO:
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images):
        for each in getattr(image, which):
            x, y, width, height = each.box
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": each.thing_id}
            annotation |= {"bbox": [x, y, width, height], "segmentation": each.mask, "iscrowd": 0}
            if which == "ground_truth":
                annotation |= {"area": each.area, "iscrowd": int(each.is_crowd)}
            else:
                area = float(mask_util.area(each.mask)) if task == "segm" else width * height
                annotation |= {"area": area, "score": each.score}
            annotations.append(annotation)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i, "height": 0, "width": 0} for i in range(len(images))],
        "categories": [{"id": i} for i in range(num_classes)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco
