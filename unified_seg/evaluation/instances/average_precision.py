"""COCO's average precision by hotcoco, with the numbers of pycocotools.

T = thing classes; N = objects or detections of all images.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import hotcoco
import numpy as np

from unified_seg.evaluation.base import Scores
from unified_seg.evaluation.instances.objects import Detection, GroundTruthInstance, ImageInstances

#: The detections of an image that pycocotools counts by default.
COCO_MAX_DETECTIONS = 100


def match_instances(
    images: Sequence[ImageInstances],
    task: str,
    class_names: Sequence[str],
    max_detections: int = COCO_MAX_DETECTIONS,
    thing_ids: Sequence[int] | None = None,
) -> hotcoco.COCOeval:
    """Match detections to ground truth.

    Args:
        images: ground truth and detections of each image.
        task: "bbox" or "segm".
        class_names: T, by thing id.
        max_detections: of each class in each image, those with the highest scores count.
        thing_ids: the classes to match, ascending; by default those that occur.

    Returns:
        The matches. Their images are numbered from 0, their categories are the thing ids, and objects and detections
        are numbered from 1 in the order of the images.
    """
    ground_truth = _make_ground_truth(images, class_names, task)
    evaluation = hotcoco.COCOeval(ground_truth, _make_detections(ground_truth, images, task), task)
    evaluation.params.max_dets = [max_detections]
    # The arrays of scores are large, and data sets may have thousands of classes that do not occur.
    evaluation.params.cat_ids = list(find_classes(images) if thing_ids is None else thing_ids)
    evaluation.evaluate()
    return evaluation


def compute_average_precision(matches: hotcoco.COCOeval, class_names: Sequence[str]) -> Scores:
    """Compute COCO's average precision.

    Args:
        matches: see `match_instances`.
        class_names: T, by thing id.

    Returns:
        AP, AP50, AP75, APs, APm, APl and AP-<class> in percent; 0 without detections, NaN for a class or size without
        ground-truth instances.
    """
    matches.accumulate()
    assert matches.eval is not None
    precision = matches.eval["precision"][..., -1]  # (IoU threshold, recall, class, size)
    thresholds, sizes = np.array(matches.params.iou_thrs), matches.params.area_rng_lbl
    scores = {"AP": _mean_percent(precision[:, :, :, 0])}
    for name, threshold in (("AP50", 0.5), ("AP75", 0.75)):
        scores[name] = _mean_percent(precision[np.isclose(thresholds, threshold), :, :, 0])
    for name, label in (("APs", "small"), ("APm", "medium"), ("APl", "large")):
        scores[name] = _mean_percent(precision[..., sizes.index(label)])
    index_of = {thing_id: i for i, thing_id in enumerate(matches.params.cat_ids)}
    for thing_id, name in enumerate(class_names):
        index = index_of.get(thing_id)
        scores[f"AP-{name}"] = math.nan if index is None else _mean_percent(precision[:, :, index, 0])
    return scores


def find_classes(images: Sequence[ImageInstances]) -> list[int]:
    """Return the thing ids in ground truth and detections, ascending."""
    found = {each.thing_id for image in images for each in image.ground_truth}
    return sorted(found.union(each.thing_id for image in images for each in image.detections))


def find_limit(images: Sequence[ImageInstances], max_detections: int) -> int:
    """Return how many detections of an image count: `max_detections`, all if it is below 0."""
    if max_detections >= 0:
        return max_detections
    return max(COCO_MAX_DETECTIONS, *(len(each) for i in images for each in (i.detections, i.unfused or ())))


def _make_ground_truth(images: Sequence[ImageInstances], class_names: Sequence[str], task: str) -> hotcoco.COCO:
    objects = list(itertools.chain.from_iterable(image.ground_truth for image in images))
    return hotcoco.COCO.from_arrays(
        # hotcoco needs the size of images for polygons only; the masks are run lengths.
        images=[{"id": i, "height": 0, "width": 0} for i in range(len(images))],
        categories=[{"id": i, "name": name} for i, name in enumerate(class_names)],
        image_ids=_number_images([image.ground_truth for image in images]),
        category_ids=np.array([each.thing_id for each in objects], dtype=np.int64),
        boxes=_stack_boxes(objects),
        # That of the mask, if there is one, in both tasks.
        area=np.array([each.area for each in objects], dtype=np.float64),
        iscrowd=np.array([each.is_crowd for each in objects], dtype=bool),
        segmentation=_list_masks(objects) if task == "segm" else None,
    )


def _make_detections(ground_truth: hotcoco.COCO, images: Sequence[ImageInstances], task: str) -> hotcoco.COCO:
    detections = list(itertools.chain.from_iterable(image.detections for image in images))
    columns = [
        _number_images([image.detections for image in images]),
        _stack_boxes(detections),
        np.array([each.score for each in detections], dtype=np.float64),
        np.array([each.thing_id for each in detections], dtype=np.float64),
    ]
    rows = np.column_stack(columns)
    if task == "bbox":
        return ground_truth.load_res(rows)
    masks = _list_masks(detections)
    found = ground_truth.load_res(rows, segmentation=masks)
    # hotcoco takes the area of the box.
    found.update_anns(ids=np.arange(1, len(masks) + 1), area=hotcoco.mask.area(masks))
    return found


def _number_images(images: Sequence[Sequence[Any]]) -> np.ndarray:
    """Return the number of the image of each object: (N,) int64."""
    return np.repeat(np.arange(len(images)), [len(objects) for objects in images])


def _stack_boxes(objects: Sequence[GroundTruthInstance] | Sequence[Detection]) -> np.ndarray:
    """Return (N, 4) float64: x, y, width, height."""
    return np.array([each.box for each in objects], dtype=np.float64).reshape(-1, 4)


def _list_masks(objects: Sequence[GroundTruthInstance] | Sequence[Detection]) -> list[Any]:
    """Return N run lengths."""
    return [each.mask for each in objects]


def _mean_percent(precision: np.ndarray) -> float:
    """Return the mean precision in percent; undefined values, which are -1 in COCO's tools, are left out."""
    defined = precision[precision > -1]
    return 100 * float(defined.mean()) if defined.size else math.nan
