import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from detectron2.data import MetadataCatalog

from unified_seg.data.datasets.coco_panoptic_2017 import IMAGES, load_coco_panoptic_2017
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth


def test_the_official_numbers() -> None:
    # cocodataset.org, Detection 2017: 118K and 5K; the lists of instances_{train,val}2017.json have these lengths.
    assert IMAGES == {"train": 118287, "val": 5000}


def test_the_tree_is_that_of_detectron2(prepared: Callable[..., Any]) -> None:
    data = prepared("coco_panoptic")
    data.run()
    folders = {file.rpartition("/")[0] for file in data.files()} - {""}
    assert folders == {"train2017", "val2017", "annotations", "panoptic_train2017", "panoptic_val2017"}


def test_semantic_labels_are_the_classes_of_the_segments(prepared: Callable[..., Any]) -> None:
    data = prepared("coco_panoptic")
    data.run()
    record = load_coco_panoptic_2017(data.root, "train")[1]
    assert record["image_id"] == 25 and record["file_name"] == str(data.root / "train2017/000000000025.jpg")
    assert {(s["category_id"], s["isthing"], s["iscrowd"]) for s in record["segments_info"]} == {
        (0, True, 0), (0, True, 1), (100, False, 0), (119, False, 0),
    }  # fmt: skip
    table = dataset_classes(MetadataCatalog.get("unified_coco_panoptic_train"))
    labels = read_semantic_ground_truth(record, table)
    # Road, 149, is the 100th of the list of 133, sky-other-merged, 187, the 119th; both persons are 0.
    assert [labels[pixel] for pixel in ((0, 50), (60, 50), (30, 30), (30, 60), (30, 0))] == [119, 100, 0, 0, 255]
    assert np.unique(labels).tolist() == [0, 100, 119, 255]


def test_an_annotation_without_its_file_is_named(prepared: Callable[..., Any]) -> None:
    data = prepared("coco_panoptic")
    data.run()
    for archive in [*data.download.archives, "annotations/panoptic_train2017.zip"]:
        (data.root / archive).unlink()
    (data.root / "panoptic_train2017/000000000025.png").rename(data.root / "panoptic_train2017/000000000026.png")
    with pytest.raises(SystemExit, match=r"panoptic_train2017\.json: 1 annotations .* PNGs, first 0+25"):
        data.run()


@pytest.mark.parametrize("content", ["[]", "{", json.dumps({"images": [], "annotations": [{"image_id": []}]})])
def test_a_wrong_json_is_named(content: str, prepared: Callable[..., Any]) -> None:
    data = prepared("coco_panoptic")
    data.run()
    (data.root / "panoptic_annotations_trainval2017.zip").unlink()
    (data.root / "annotations/panoptic_val2017.json").write_text(content)
    with pytest.raises(SystemExit, match=r"^\w*Error: .*panoptic_val2017\.json: "):
        data.run()
