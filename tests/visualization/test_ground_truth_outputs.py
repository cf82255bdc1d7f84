import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances
from pycocotools import mask as coco_mask

from unified_seg.visualization.ground_truth_outputs import convert_targets, read_ground_truth


def test_instances_are_the_things_of_the_panoptic_map(record, table):
    instances = read_ground_truth(record, table)["instances"]
    assert instances.pred_classes.tolist() == [0, 0]
    assert instances.pred_boxes.tensor.tolist() == [[20, 24, 44, 48], [44, 24, 68, 48]]
    assert instances.pred_masks.areas().tolist() == [24 * 24, 24 * 24]


@pytest.mark.parametrize("form", ["polygon", "flat polygon", "rle", "rle of floats", "compressed", "box"])
def test_annotations_are_preferred_to_segments(record, table, form):
    # A rectangle of columns 10 to 19 and rows 20 to 29.
    mask = np.zeros((64, 128), np.uint8, order="F")
    mask[20:30, 10:20] = 1
    first = 10 * 64 + 20  # COCO's counts run down the columns: zeros before the first pixel, then 10 of each in turn
    counts = [first, 10, *[54, 10] * 9, 64 * 128 - first - 10 - 9 * 64]
    polygon = [10.0, 20.0, 20.0, 20.0, 20.0, 30.0, 10.0, 30.0]
    forms = {
        "polygon": [polygon],
        "flat polygon": polygon,
        "rle": {"size": [64, 128], "counts": counts},
        "rle of floats": {"size": [64, 128], "counts": [float(run) for run in counts]},
        "compressed": coco_mask.encode(mask),
    }
    annotation = {"bbox": [10, 20, 10, 10], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 1, "iscrowd": 1}
    if form != "box":
        annotation["segmentation"] = forms[form]
    ground_truth = read_ground_truth({**record, "annotations": [annotation]}, table)
    instances = ground_truth["instances"]
    assert instances.pred_boxes.tensor.tolist() == [[10, 20, 20, 30]]
    assert instances.pred_classes.tolist() == [1] and instances.is_crowd.tolist() == [True]
    if form != "box":
        assert np.array_equal(instances.pred_masks.full()[0].numpy(), mask.astype(bool))


def test_missing_labels_are_left_out(record, table):
    image_only = {key: record[key] for key in ("file_name", "image_id", "height", "width")}
    assert read_ground_truth(image_only, table) == {}
    semantic = {**image_only, "sem_seg_file_name": record["sem_seg_file_name"]}
    assert read_ground_truth(semantic, table).keys() == {"sem_seg_labels"}


def test_targets_of_a_loader_are_converted(street, compact):
    labels, ids, _ = street
    instances = Instances((64, 128))
    instances.gt_masks = BitMasks(np.stack([ids == 3, ids == 4]))
    instances.gt_boxes = Boxes(compact["instances"].pred_boxes.tensor)
    instances.gt_classes = torch.tensor([0, 0])
    outputs = convert_targets({"sem_seg": torch.from_numpy(labels), "instances": instances})
    assert outputs.keys() == {"sem_seg_labels", "instances"}
    assert np.array_equal(outputs["sem_seg_labels"], labels)
    converted, expected = outputs["instances"], compact["instances"]
    assert torch.equal(converted.pred_boxes.tensor, expected.pred_boxes.tensor)
    assert torch.equal(converted.pred_classes, expected.pred_classes)
    assert torch.equal(converted.pred_masks.full(), expected.pred_masks.full())
    assert not converted.has("scores")
