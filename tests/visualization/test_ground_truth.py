import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances
from PIL import Image
from pycocotools import mask as coco_mask

from unified_seg.visualization.ground_truth import (
    WRONG,
    convert_targets,
    draw_comparison,
    draw_ground_truth,
    read_ground_truth,
)
from unified_seg.visualization.panels import draw_panels


def test_ground_truth_is_drawn_like_a_prediction_that_says_the_same(record, image, street, compact, metadata):
    compact["sem_seg_labels"] = torch.from_numpy(street[0])
    compact["instances"].remove("scores")
    assert np.array_equal(draw_ground_truth(record, metadata), draw_panels(image, compact, metadata))


def test_instances_are_the_things_of_the_panoptic_map(record, table):
    instances = read_ground_truth(record, table)["instances"]
    assert instances.pred_classes.tolist() == [0, 0]
    assert instances.pred_boxes.tensor.tolist() == [[20, 24, 44, 48], [44, 24, 68, 48]]
    assert instances.pred_masks.areas().tolist() == [24 * 24, 24 * 24]


@pytest.mark.parametrize("form", ["polygon", "rle", "compressed", "box"])
def test_annotations_stand_for_instances(record, table, form):
    # A rectangle of columns 10 to 19 and rows 20 to 29.
    mask = np.zeros((64, 128), np.uint8, order="F")
    mask[20:30, 10:20] = 1
    first = 10 * 64 + 20  # COCO's counts run down the columns: zeros before the first pixel, then 10 of each in turn
    counts = [first, 10, *[54, 10] * 9, 64 * 128 - first - 10 - 9 * 64]
    forms = {
        "polygon": [[10.0, 20.0, 20.0, 20.0, 20.0, 30.0, 10.0, 30.0]],
        "rle": {"size": [64, 128], "counts": counts},
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


def test_records_may_lack_labels(record, metadata, table):
    image_only = {key: record[key] for key in ("file_name", "image_id", "height", "width")}
    assert read_ground_truth(image_only, table) == {}
    assert draw_ground_truth(image_only, metadata).shape[1] == 512
    semantic = {**image_only, "sem_seg_file_name": record["sem_seg_file_name"]}
    assert draw_ground_truth(semantic, metadata).shape[1] == 2 * 512 + 4


def test_no_instance_and_no_annotation(record, metadata):
    stuff = [segment for segment in record["segments_info"] if not segment["isthing"]]
    for changed in ({**record, "segments_info": stuff}, {**record, "annotations": []}):
        assert draw_ground_truth(changed, metadata).size


def test_errors_name_the_file(record, metadata, tmp_path):
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match=r"small\.png: 3x5 pixels, its image has 64x128"):
        draw_ground_truth({**record, "sem_seg_file_name": str(tmp_path / "small.png")}, metadata)
    with pytest.raises(ValueError, match=r"absent\.png"):
        draw_ground_truth({**record, "pan_seg_file_name": str(tmp_path / "absent.png")}, metadata)
    Image.fromarray(np.full((64, 128), 77, np.uint8)).save(tmp_path / "beyond.png")
    with pytest.raises(ValueError, match=r"beyond\.png: label id 77 is neither"):
        draw_ground_truth({**record, "sem_seg_file_name": str(tmp_path / "beyond.png")}, metadata)


def test_targets_of_a_loader_are_drawn_as_they_are(image, street, compact, metadata):
    labels, ids, _ = street
    instances = Instances((64, 128))
    instances.gt_masks = BitMasks(np.stack([ids == 3, ids == 4]))
    instances.gt_boxes = Boxes(compact["instances"].pred_boxes.tensor)
    instances.gt_classes = torch.tensor([0, 0])
    outputs = convert_targets({"sem_seg": torch.from_numpy(labels), "instances": instances})
    compact["instances"].remove("scores")
    expected = {"sem_seg_labels": torch.from_numpy(labels), "instances": compact["instances"]}
    assert np.array_equal(draw_panels(image, outputs, metadata), draw_panels(image, expected, metadata))


def wrong_pixels(picture):
    """Pixels of the error panel (second row, first column) in the color of errors, over the gray image."""
    panel = picture[22 + 256 + 4 + 22 : 22 + 256 + 4 + 22 + 256, :512].astype(int)
    return (np.abs(panel - 0.9 * np.array(WRONG)) <= 26).all(axis=2)


def test_comparison_marks_wrong_pixels_and_no_others(record, compact, metadata):
    # The ground truth of the void corner, where any answer is fine, is not compared.
    assert not wrong_pixels(draw_comparison(record, compact, metadata)).any()
    compact["sem_seg_labels"][0:16, 0:32] = 3
    wrong = wrong_pixels(draw_comparison(record, compact, metadata))
    assert wrong[: 16 * 4, : 32 * 4].all() and wrong.sum() == 16 * 32 * 4 * 4


def test_comparison_takes_both_forms_and_partial_outputs(record, compact, full, metadata):
    assert np.array_equal(draw_comparison(record, compact, metadata), draw_comparison(record, full, metadata))
    only_instances = draw_comparison(record, {"instances": compact["instances"]}, metadata)
    assert only_instances.shape[1] == 2 * 512 + 4
