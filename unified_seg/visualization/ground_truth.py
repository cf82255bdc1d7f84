"""What the label files of a record say, or the targets that a loader yields, as panels; and a prediction beside them.

T: N = instances, (H, W) = the image.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks
from detectron2.structures.masks import polygons_to_bitmask
from pycocotools import mask as coco_mask
from torch import Tensor

from unified_seg.data.io.image_files import check_size, read_image, read_panoptic_ids
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.canvas import VOID, Segment, draw_segments, to_canvas
from unified_seg.visualization.panels import LegendMode, add_legend, draw_panels, make_panels
from unified_seg.visualization.sheet import add_caption, make_grid

WRONG = (225, 40, 40)


def draw_ground_truth(record: Mapping[str, Any], metadata: Any, legend: LegendMode = "present") -> np.ndarray:
    """Draw the labels of a data record as `draw_panels` draws a prediction; what the record lacks is left out.

    Args:
        record: of a data set, in Detectron2's form (see `read_ground_truth`).
        metadata: of the data set.
        legend: see `draw_panels`.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        DataError: a file that is absent or unreadable, of another size than the image, or with an id that the class
            table lacks; the message names the record.
    """
    image = read_image(record["file_name"], "RGB")
    ground_truth = read_ground_truth(record, ClassTable.from_metadata(metadata))
    try:
        return draw_panels(image, ground_truth, metadata, legend=legend)
    except ValueError as error:
        raise DataError(f"the labels of {record['file_name']} can't be drawn: {error}") from None


def draw_comparison(
    record: Mapping[str, Any], outputs: Mapping[str, Any], metadata: Any, confidence_threshold: float = 0.5
) -> np.ndarray:
    """Two rows: the image and its ground truth above; the pixels with a wrong class and the prediction below.

    Args:
        record: of the data set.
        outputs: of the model for this record, in either form.
        metadata, confidence_threshold: as for `draw_panels`.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        DataError, ValueError: as `draw_ground_truth` and `draw_panels`.
    """
    table = ClassTable.from_metadata(metadata)
    image = read_image(record["file_name"], "RGB")
    ground_truth = make_panels(read_ground_truth(record, table), table)
    predicted = make_panels(outputs, table, confidence_threshold)
    kinds = [kind for kind in predicted if kind in ground_truth]
    pictures = [add_caption(to_canvas(image), f"input {image.shape[1]}×{image.shape[0]}")]
    pictures += [ground_truth[kind].draw(image, "truth · ") for kind in kinds]
    if "semantic" in kinds:
        pictures.append(_draw_errors(image, ground_truth["semantic"].ids, predicted["semantic"].ids))
    else:
        pictures.append(add_caption(to_canvas(image), "input"))
    pictures += [predicted[kind].draw(image, "prediction · ") for kind in kinds]
    shown = [panels[kind] for panels in (ground_truth, predicted) for kind in kinds]
    return add_legend(make_grid(pictures, 1 + len(kinds)), shown, table, "present")


def read_ground_truth(record: Mapping[str, Any], table: ClassTable) -> dict[str, Any]:
    """Read a record's labels in the compact form of a model's outputs.

    Args:
        record: `file_name`, `height`, `width`, and any of `sem_seg_file_name`; `pan_seg_file_name` with
            `segments_info`; `annotations` with `bbox`, `bbox_mode`, `category_id` and, for masks, `segmentation`.
        table: of the data set.

    Returns:
        `sem_seg_labels` (H, W), `panoptic_seg`, and `instances` without scores: of `annotations` if there are any,
        else the thing segments of the panoptic map.

    Raises:
        DataError: a file that is absent, unreadable, or of another size than the record.
    """
    size = (record["height"], record["width"])
    ground_truth: dict[str, Any] = {}
    if has_semantic_ground_truth(record):
        ground_truth["sem_seg_labels"] = torch.from_numpy(read_semantic_ground_truth(record, table))
    if "annotations" in record:
        ground_truth["instances"] = _from_annotations(record["annotations"], size)
    if "pan_seg_file_name" in record:
        ids = check_size(read_panoptic_ids(record["pan_seg_file_name"]), size, record["pan_seg_file_name"])
        ground_truth["panoptic_seg"] = (torch.from_numpy(ids), record["segments_info"])
        if "annotations" not in record and table.num_things:
            ground_truth["instances"] = _from_segments(ids, record["segments_info"])
    return {key: ground_truth[key] for key in ("sem_seg_labels", "instances", "panoptic_seg") if key in ground_truth}


def convert_targets(targets: Mapping[str, Any]) -> dict[str, Any]:
    """The targets of one image as a training loader yields them, in the form that `draw_panels` takes.

    Args:
        targets: any of `sem_seg` (H, W) and `instances` with `gt_boxes`, `gt_classes` and, if there are masks,
            `gt_masks` (BitMasks or PolygonMasks).
    """
    outputs: dict[str, Any] = {}
    if "sem_seg" in targets:
        outputs["sem_seg_labels"] = targets["sem_seg"]
    if "instances" in targets:
        ground_truth: Instances = targets["instances"]
        instances = Instances(
            ground_truth.image_size, pred_boxes=ground_truth.gt_boxes, pred_classes=ground_truth.gt_classes
        )
        if ground_truth.has("gt_masks"):
            instances.pred_masks = BoxMasks.from_full(_full_masks(ground_truth.gt_masks, ground_truth.image_size))
        outputs["instances"] = instances
    return outputs


def _draw_errors(image: np.ndarray, ground_truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    wrong = (ground_truth != predicted) & (ground_truth != VOID)
    labeled = int((ground_truth != VOID).sum())
    share = 100 * int(wrong.sum()) / labeled if labeled else 0.0
    error = Segment(1, WRONG, "", is_thing=False)
    picture = draw_segments(image, wrong.astype(np.int32), [error], opacity=0.9, hatch_void=False)
    return add_caption(picture, f"wrong class: {share:.1f}% of the labeled pixels")


def _from_segments(ids: np.ndarray, segments_info: list[dict[str, Any]]) -> Instances:
    things = [info for info in segments_info if info["isthing"]]
    masks = torch.from_numpy(np.stack([ids == info["id"] for info in things]) if things else np.zeros((0, *ids.shape)))
    return _instances(
        BoxMasks.from_full(masks.bool()),
        [info["category_id"] for info in things],
        [bool(info.get("iscrowd", 0)) for info in things],
    )


def _from_annotations(annotations: list[dict[str, Any]], size: tuple[int, int]) -> Instances:
    classes = [annotation["category_id"] for annotation in annotations]
    crowd = [bool(annotation.get("iscrowd", 0)) for annotation in annotations]
    if annotations and all("segmentation" in annotation for annotation in annotations):
        masks = np.stack([_decode(annotation["segmentation"], size) for annotation in annotations])
        return _instances(BoxMasks.from_full(torch.from_numpy(masks)), classes, crowd)
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    return Instances(
        size,
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        pred_classes=torch.tensor(classes, dtype=torch.int64),
        is_crowd=torch.tensor(crowd, dtype=torch.bool),
    )


def _instances(masks: BoxMasks, classes: list[int], crowd: list[bool]) -> Instances:
    return Instances(
        masks.image_size,
        pred_boxes=Boxes(masks.windows.float()),
        pred_classes=torch.tensor(classes, dtype=torch.int64),
        pred_masks=masks,
        is_crowd=torch.tensor(crowd, dtype=torch.bool),
    )


def _decode(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool from polygons, or from a COCO run-length code, compressed or not."""
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            segmentation = coco_mask.frPyObjects(segmentation, *size)
        return coco_mask.decode(segmentation).astype(bool)
    return polygons_to_bitmask([np.asarray(polygon, dtype=np.float64) for polygon in segmentation], *size)


def _full_masks(masks: Any, size: tuple[int, int]) -> Tensor:
    if isinstance(masks, PolygonMasks):
        masks = BitMasks.from_polygon_masks(masks, *size)
    return masks.tensor if isinstance(masks, BitMasks) else masks
