import numpy as np
import pytest
import torch
from PIL import Image

from unified_seg.visualization.comparison import (
    WRONG,
    draw_comparison,
    draw_ground_truth,
    draw_with_ground_truth,
    make_error_panel,
)
from unified_seg.visualization.ground_truth_outputs import read_ground_truth
from unified_seg.visualization.overview import draw_panels


def test_ground_truth_is_drawn_like_an_equal_prediction(record, image, street, compact, metadata):
    compact["sem_seg_labels"] = torch.from_numpy(street[0])
    compact["instances"].remove("scores")
    assert np.array_equal(draw_ground_truth(record, metadata), draw_panels(image, compact, metadata))


def test_missing_labels_are_not_drawn(record, metadata):
    image_only = {key: record[key] for key in ("file_name", "image_id", "height", "width")}
    assert draw_ground_truth(image_only, metadata).shape[1] == 512
    semantic = {**image_only, "sem_seg_file_name": record["sem_seg_file_name"]}
    assert draw_ground_truth(semantic, metadata).shape[1] == 2 * 512 + 4


def test_record_without_instances_is_drawn(record, metadata):
    stuff = [segment for segment in record["segments_info"] if not segment["isthing"]]
    for changed in ({**record, "segments_info": stuff}, {**record, "annotations": []}):
        assert draw_ground_truth(changed, metadata).size


def test_errors_name_the_file(record, metadata, tmp_path):
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match=r"small\.png: .*3x5"):
        draw_ground_truth({**record, "sem_seg_file_name": str(tmp_path / "small.png")}, metadata)
    with pytest.raises(ValueError, match=r"absent\.png"):
        draw_ground_truth({**record, "pan_seg_file_name": str(tmp_path / "absent.png")}, metadata)
    Image.fromarray(np.full((64, 128), 77, np.uint8)).save(tmp_path / "beyond.png")
    with pytest.raises(ValueError, match=r"beyond\.png: .*77"):
        draw_ground_truth({**record, "sem_seg_file_name": str(tmp_path / "beyond.png")}, metadata)


def test_error_panel_marks_wrong_labeled_pixels():
    # Of four labeled pixels one is wrong; 0 is void in the ground truth.
    panel = make_error_panel(np.array([[1, 2, 0], [2, 2, 0]]), np.array([[1, 1, 1], [2, 2, 2]]))
    assert panel.ids.tolist() == [[0, 1, 0], [0, 0, 0]]
    assert "25.0%" in panel.caption


def test_comparison_has_two_rows(record, compact, metadata):
    compact["sem_seg_labels"][0:16, 0:32] = 3
    # Input or errors, and semantic, instances and panoptic: four pictures of 512 x 256 with captions; a legend.
    drawn = draw_comparison(record, compact, metadata)
    assert drawn.shape[1] == 4 * 512 + 3 * 4
    assert drawn.shape[0] > 2 * (256 + 22) + 4
    # Errors, four times enlarged, at 0.9 opacity over the gray image.
    errors = drawn[22 + 256 + 4 + 22 :][:256, :512].astype(int)
    is_wrong = (np.abs(errors - 0.9 * np.array(WRONG)) <= 26).all(axis=2)
    assert is_wrong[: 16 * 4, : 32 * 4].all() and is_wrong.sum() == 16 * 32 * 4 * 4


def test_comparison_accepts_both_forms_and_partial_outputs(record, compact, full, metadata):
    assert np.array_equal(draw_comparison(record, compact, metadata), draw_comparison(record, full, metadata))
    only_instances = draw_comparison(record, {"instances": compact["instances"]}, metadata)
    assert only_instances.shape[1] == 2 * 512 + 4


def test_ground_truth_and_wrong_pixels_are_below_the_predictions(image, record, compact, metadata, table) -> None:
    wrong = compact["sem_seg_labels"].clone()
    wrong[:8, :16] = 1
    outputs = {**compact, "sem_seg_labels": wrong}
    drawn = draw_with_ground_truth(image, outputs, metadata, read_ground_truth(record, table))
    above = draw_panels(image, outputs, metadata, legend="none")
    assert np.array_equal(drawn[: len(above), : above.shape[1]], above)
    below = drawn[len(above) :]
    # The last of the four pictures of ground truth has the wrong pixels in red.
    red = (below.astype(int) - WRONG).__abs__().max(axis=-1) < 40
    assert red.sum() > 8 * 16 * 8
    assert len(below) > 2 * 4 * 64
    alone = draw_with_ground_truth(image, {"instances": compact["instances"]}, metadata, {})
    assert np.array_equal(alone, draw_panels(image, {"instances": compact["instances"]}, metadata))
