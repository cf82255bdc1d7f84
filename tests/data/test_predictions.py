"""The readers of predictions, each by itself; tests/tools/test_fuse_predictions.py has what a run says to bad files."""

import json
from dataclasses import replace
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

from unified_seg.data.predictions import (
    Detection,
    ImageInfo,
    find_semantic,
    pixel_values,
    read_categories,
    read_detections,
    read_images,
    read_masks,
    read_semantic,
)
from unified_seg.data.reading import DataError
from unified_seg.functional.box_masks import BoxMasks
from unified_seg.functional.class_table import ClassTable, SegmentClass

SKY, CAR, TRUCK = 23, 26, 27
TABLE = ClassTable(
    [
        SegmentClass("sky", 0, None, SKY, "sky", (70, 130, 180)),
        SegmentClass("car", 1, 0, CAR, "car", (0, 0, 142)),
        SegmentClass("truck", 2, 1, TRUCK, "truck", (0, 0, 70)),
    ]
)


def write(folder: Path, content: Any) -> Path:
    file = folder / "file.json"
    file.write_text(json.dumps(content))
    return file


def image(name: str, size: tuple[int, int] = (2, 3), image_id: int | str = 1) -> ImageInfo:
    return ImageInfo(image_id, name, Path(name).with_suffix(".png").as_posix(), size)


def test_images(tmp_path: Path):
    records = [
        {"id": 7, "file_name": "a/one.jpg", "height": 4, "width": 6, "license": 1},
        {"id": "two", "file_name": "two", "height": 2, "width": 3},
    ]
    assert read_images(write(tmp_path, {"images": records, "annotations": []})) == [
        ImageInfo(7, "a/one.jpg", "a/one.png", (4, 6)),
        ImageInfo("two", "two", "two.png", (2, 3)),
    ]


class TestCategories:
    records = (
        {"id": SKY, "name": "sky", "isthing": 0, "supercategory": "sky", "color": [70, 130, 180]},
        {"id": CAR, "name": "car", "isthing": 1, "supercategory": "vehicle", "color": [0, 0, 142]},
        {"id": TRUCK, "name": "truck", "isthing": True, "supercategory": "vehicle", "color": [0, 0, 70]},
    )

    @pytest.mark.parametrize("key", [None, "categories"])
    def test_each_class_is_its_own_category(self, tmp_path: Path, key: str | None):
        file = write(tmp_path, {key: self.records} if key else self.records)
        assert read_categories(file, use_supercategories=False).classes == TABLE.classes

    def test_look_alikes(self, tmp_path: Path):
        table = read_categories(write(tmp_path, self.records), use_supercategories=True)
        assert [c.category for c in table.classes] == ["sky", "vehicle", "vehicle"]

    def test_classes_of_one_name_are_no_look_alikes(self, tmp_path: Path):
        records = [{**record, "name": "car"} for record in self.records]
        table = read_categories(write(tmp_path, records), use_supercategories=False)
        assert table.semantic_names == ["car"] * 3
        assert table.category_of.tolist() == [0, 1, 2]

    def test_what_is_missing(self, tmp_path: Path):
        bare = [{key: record[key] for key in ("id", "name", "isthing")} for record in self.records]
        table = read_categories(write(tmp_path, bare), use_supercategories=False)
        assert len({c.color for c in table.classes}) == 3
        with pytest.raises(DataError, match=r"file\.json: record 0: supercategory must be str, got None"):
            read_categories(write(tmp_path, bare), use_supercategories=True)


class TestPixelValues:
    def test_dataset_ids(self):
        values = pixel_values(TABLE, "dataset")
        meant = {value: int(i) for value, i in enumerate(values.to_semantic) if i != -1}
        assert meant == {0: 255, SKY: 0, CAR: 1, TRUCK: 2, 255: 255}
        assert values.from_semantic[[0, 1, 2, 255]].tolist() == [SKY, CAR, TRUCK, 255]
        assert values.from_semantic.dtype == np.uint8

    def test_contiguous_ids(self):
        values = pixel_values(TABLE, "contiguous")
        meant = {value: int(i) for value, i in enumerate(values.to_semantic) if i != -1}
        assert meant == {0: 0, 1: 1, 2: 2, 255: 255}
        assert values.from_semantic[[0, 1, 2, 255]].tolist() == [0, 1, 2, 255]

    def test_a_class_with_the_id_of_void(self):
        values = pixel_values(ClassTable([replace(TABLE.classes[0], dataset_id=255)]), "dataset")
        assert (values.to_semantic[0], values.to_semantic[255]) == (255, 0)
        assert values.from_semantic[[0, 255]].tolist() == [255, 0]

    def test_ids_that_need_two_bytes(self):
        values = pixel_values(ClassTable([replace(TABLE.classes[0], dataset_id=65535)]), "dataset")
        assert values.from_semantic[[0, 255]].tolist() == [65535, 255]

    def test_things_that_share_a_semantic_id(self):
        table = ClassTable([replace(c, semantic_id=0, thing_id=i) for i, c in enumerate(TABLE.classes)])
        assert pixel_values(table, "contiguous").to_semantic[0] == 0
        with pytest.raises(DataError, match="several things share a semantic id"):
            pixel_values(table, "dataset")

    @pytest.mark.parametrize("ignore_label", [-1, 65536])
    def test_an_ignore_label_that_no_map_holds(self, ignore_label: int):
        with pytest.raises(DataError, match=f"ignore label of the classes is {ignore_label}, it must be 0 .. 65535"):
            pixel_values(ClassTable(TABLE.classes, ignore_label), "contiguous")

    def test_an_unknown_kind(self):
        with pytest.raises(ValueError, match="must be dataset or contiguous, got 'coco'"):
            pixel_values(TABLE, "coco")


def test_detections(tmp_path: Path):
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
def test_masks_are_those_of_pycocotools(full: np.ndarray, data: st.DataObject):
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


def test_a_mask_with_a_run_of_no_pixels():
    # pycocotools' own box of it is billions of pixels wide.
    detection = Detection({"segmentation": {"size": [5, 7], "counts": [35, 0]}, "score": 1.0}, 0, "record")
    assert read_masks([detection], (5, 7), 0.5).windows.tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("score", [0.1, 0.9])
@pytest.mark.parametrize("record", [{}, {"segmentation": {"size": [5, 7], "counts": "5"}}])
def test_a_bad_mask(score: float, record: dict[str, Any]):
    with pytest.raises(DataError, match=r"^results\.json: record 4: segmentation: "):
        read_masks([Detection({**record, "score": score}, 0, "results.json: record 4")], (5, 7), 0.5)


def test_semantic_maps(tmp_path: Path):
    Image.fromarray(np.array([[SKY, CAR, 0], [255, TRUCK, SKY]], np.uint8)).save(tmp_path / "one.png")
    (tmp_path / "a").mkdir()
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "a" / "two.png")
    # Without the sub-folder where it has no such file there, and the name is no other image's.
    images = [image("b/one.jpg", image_id=1), image("a/two.jpg", image_id=2)]
    found = find_semantic(tmp_path, images)
    assert found == {1: tmp_path / "one.png", 2: tmp_path / "a" / "two.png"}
    labels = read_semantic(found[1], images[0], pixel_values(TABLE, "dataset"))
    assert labels.dtype == torch.int32 and labels.tolist() == [[0, 1, 255], [255, 2, 0]]
    with pytest.raises(DataError, match=r"a/one\.png: there is no such file, the semantic map of image 2"):
        find_semantic(tmp_path, [image("b/one.jpg", image_id=1), image("a/one.jpg", image_id=2)][::-1])


def test_a_name_that_leads_out(tmp_path: Path):
    assert image("a/../b.jpg").png_in(tmp_path) == tmp_path / "a/../b.png"
    with pytest.raises(DataError, match=r"image 1: its file_name '\.\./b\.jpg' leads out of"):
        image("../b.jpg").png_in(tmp_path)
