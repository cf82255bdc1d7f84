"""The readers of predictions, one by one; tests/tools/test_fuse_predictions.py has the errors of a run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as mask_util
from three_classes import CAR, SKY, TABLE, TRUCK

from unified_seg.data.coco.prediction_files import (
    Detection,
    ImageInfo,
    find_semantic_maps,
    read_detections,
    read_images,
    read_masks,
    read_semantic_map,
)
from unified_seg.data.io.semantic_labels import PixelValues
from unified_seg.data.problems import DataError
from unified_seg.structures.box_masks import BoxMasks


def write(folder: Path, content: Any) -> Path:
    file = folder / "file.json"
    file.write_text(json.dumps(content))
    return file


def image(name: str, size: tuple[int, int] = (2, 3), image_id: int | str = 1) -> ImageInfo:
    return ImageInfo(image_id, name, Path(name).with_suffix(".png").as_posix(), size)


def test_images_have_the_names_of_their_pngs(tmp_path: Path):
    records = [
        {"id": 7, "file_name": "a/one.jpg", "height": 4, "width": 6, "license": 1},
        {"id": "two", "file_name": "two", "height": 2, "width": 3},
    ]
    assert read_images(write(tmp_path, {"images": records, "annotations": []})) == [
        ImageInfo(7, "a/one.jpg", "a/one.png", (4, 6)),
        ImageInfo("two", "two", "two.png", (2, 3)),
    ]


def test_detections_are_read_by_image_id(tmp_path: Path):
    records = [
        {"image_id": 1, "category_id": TRUCK, "score": 0.5},
        {"image_id": "1", "category_id": CAR, "score": 1},
        {"image_id": 1, "category_id": CAR, "score": 0.25},
    ]
    file = write(tmp_path, records)
    # 1 and "1" are two images; the third has no detection.
    images = [image("a.png", image_id=1), image("b.png", image_id="1"), image("c.png", image_id=3)]
    assert read_detections(file, images, TABLE) == {
        1: [
            Detection(records[0], 1, f"{file}: record 0 (image 1)"),
            Detection(records[2], 0, f"{file}: record 2 (image 1)"),
        ],
        "1": [Detection(records[1], 0, f"{file}: record 1 (image '1')")],
    }


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(0, 4), st.just(5), st.just(7))), st.data())
def test_masks_equal_pycocotools(full: np.ndarray, data: st.DataObject):
    scores = data.draw(st.lists(st.sampled_from([0.4, 0.5, 0.6]), min_size=len(full), max_size=len(full)))
    detections = [
        Detection({"segmentation": mask_util.encode(np.asfortranarray(mask, np.uint8)), "score": score}, 0, "record")
        for mask, score in zip(full, scores)
    ]
    masks = read_masks(detections, (5, 7), score_threshold=0.5)
    expected = BoxMasks.from_full(torch.from_numpy(full & (np.array(scores) >= 0.5)[:, None, None]))
    assert masks.image_size == (5, 7)
    assert torch.equal(masks.full(), expected.full())
    assert torch.equal(masks.windows, expected.windows)
    assert [m.shape for m in masks.masks] == [m.shape for m in expected.masks]


def test_a_final_run_of_0_pixels_is_ignored():
    # pycocotools' own box of it is billions of pixels wide.
    detection = Detection({"segmentation": {"size": [5, 7], "counts": [35, 0]}, "score": 1.0}, 0, "record")
    assert read_masks([detection], (5, 7), 0.5).windows.tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("score", [0.1, 0.9])
@pytest.mark.parametrize("record", [{}, {"segmentation": {"size": [5, 7], "counts": "5"}}])
def test_invalid_masks_are_named_at_any_score(score: float, record: dict[str, Any]):
    with pytest.raises(DataError, match=r"^results\.json: record 4: segmentation: "):
        read_masks([Detection({**record, "score": score}, 0, "results.json: record 4")], (5, 7), 0.5)


def test_semantic_maps_are_found_and_read(tmp_path: Path):
    Image.fromarray(np.array([[SKY, CAR, 0], [255, TRUCK, SKY]], np.uint8)).save(tmp_path / "one.png")
    (tmp_path / "a").mkdir()
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "a" / "two.png")
    # Without the sub-folder where it has no such file there, and the name is no other image's.
    images = [image("b/one.jpg", image_id=1), image("a/two.jpg", image_id=2)]
    found = find_semantic_maps(tmp_path, images)
    assert found == {1: tmp_path / "one.png", 2: tmp_path / "a" / "two.png"}
    labels = read_semantic_map(found[1], images[0], PixelValues.from_table(TABLE, "dataset"))
    assert labels.dtype == torch.int32 and labels.tolist() == [[0, 1, 255], [255, 2, 0]]
    with pytest.raises(DataError, match=r"a/one\.png: there is no such file, the semantic map of image 2"):
        find_semantic_maps(tmp_path, [image("b/one.jpg", image_id=1), image("a/one.jpg", image_id=2)][::-1])


def test_names_that_lead_out_are_refused(tmp_path: Path):
    assert image("a/../b.jpg").resolve_png(tmp_path) == tmp_path / "b.png"
    with pytest.raises(DataError, match=r"image 1: its file_name '\.\./b\.png' leads out of"):
        image("../b.jpg").resolve_png(tmp_path)
