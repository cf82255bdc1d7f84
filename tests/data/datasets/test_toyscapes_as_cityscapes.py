"""Toyscapes in the layout of Cityscapes: read by Detectron2's loaders and by this project's."""

from pathlib import Path

import numpy as np
import pytest
from detectron2.data.datasets.builtin import _get_builtin_metadata
from detectron2.data.datasets.cityscapes import load_cityscapes_instances, load_cityscapes_semantic
from detectron2.data.datasets.cityscapes_panoptic import load_cityscapes_panoptic
from detectron2.structures import BoxMode
from pycocotools import mask as coco_mask

from toyscapes import generate
from unified_seg.data.datasets.cityscapes import build_cityscapes_table, load_cityscapes_like
from unified_seg.data.io.label_files import read_panoptic_ids
from unified_seg.data.validation.checks import check_labels

COUNTS = {"train": 3, "heldout": 0, "val": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toyscapes") / "cityscapes"
    return generate(folder, preset="standard", counts=COUNTS, size=(128, 256), workers=1, progress=False)


def folders(root: Path, split: str) -> tuple[str, str]:
    return f"{root}/leftImg8bit/{split}", f"{root}/gtFine/{split}"


@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_are_consistent(root: Path, split: str) -> None:
    records = load_cityscapes_like(root, split)
    assert len(records) == COUNTS[split]
    histogram = check_labels(records, build_cityscapes_table(), split)
    assert histogram.sum() > 0.8 * COUNTS[split] * 128 * 256


def test_detectron2s_semantic_loader_finds_the_same_files(root: Path) -> None:
    expected = load_cityscapes_semantic(*folders(root, "train"))
    actual = load_cityscapes_like(root, "train")
    assert {r["file_name"]: r["sem_seg_file_name"] for r in expected} == {
        r["file_name"]: r["sem_seg_file_name"] for r in actual
    }


def test_detectron2s_panoptic_loader_reads_the_same_segments(root: Path) -> None:
    images, labels = folders(root, "train")[0], f"{root}/gtFine/cityscapes_panoptic_train"
    metadata = _get_builtin_metadata("cityscapes")
    table = build_cityscapes_table()
    # Detectron2 numbers things by their train ids (11 to 18), this project by the classes of the detector.
    meta = {
        "thing_dataset_id_to_contiguous_id": {c.dataset_id: c.semantic_id for c in table.things},
        "stuff_dataset_id_to_contiguous_id": {c.dataset_id: c.semantic_id for c in table.classes if not c.is_thing},
    }
    expected = load_cityscapes_panoptic(images, labels, f"{labels}.json", meta)
    actual = load_cityscapes_like(root, "train")
    assert len(metadata["thing_classes"]) == table.num_things
    for peer, actual_record in zip(sorted(expected, key=lambda r: r["file_name"]), actual, strict=True):
        assert peer["pan_seg_file_name"] == actual_record["pan_seg_file_name"]
        names = {
            s["id"]: table.find_class(s["category_id"], s["isthing"]).semantic_id
            for s in actual_record["segments_info"]
        }
        assert {s["id"]: s["category_id"] for s in peer["segments_info"]} == names


def test_detectron2s_instances_are_the_things_of_the_panoptic_map(root: Path) -> None:
    try:
        expected = load_cityscapes_instances(*folders(root, "val"), from_json=False, to_polygons=False)
    except ModuleNotFoundError as error:
        pytest.skip(f"Detectron2's main imports a module that is not public: {error}")
    for peer in expected:
        (actual_record,) = (r for r in load_cityscapes_like(root, "val") if r["file_name"] == peer["file_name"])
        ids = read_panoptic_ids(actual_record["pan_seg_file_name"])
        masks = sorted(coco_mask.decode(a["segmentation"]).tobytes() for a in peer["annotations"])
        things = [s for s in actual_record["segments_info"] if s["isthing"] and not s["iscrowd"]]
        assert sorted((ids == s["id"]).astype(np.uint8).tobytes() for s in things) == masks
        assert all(a["bbox_mode"] == BoxMode.XYXY_ABS for a in peer["annotations"])
