import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unified_seg.data.datasets.ade20k import IMAGES, load_ade20k_panoptic
from unified_seg.data.io.label_files import read_label, read_panoptic_ids


def test_the_official_numbers() -> None:
    # Zhou et al., Scene Parsing through ADE20K Dataset, CVPR 2017, section 4.
    assert IMAGES == {"train": 20210, "val": 2000}


def test_the_files(prepared: Callable[..., Any]) -> None:
    data = prepared("ade20k")
    data.run()
    # 1 wall and 4 floor become 0 and 3, 8 bed 7, and 0, another class, the ignore label.
    semantic = read_label(data.root / "annotations_detectron2/training/ADE_train_00000001.png")
    assert [semantic[row, column] for row, column in ((0, 50), (60, 50), (30, 30), (30, 0))] == [0, 3, 7, 255]
    # A segment's id: 256 times the label's, and the number of the instance; 4 of the 100 is person, 13 of the 150.
    ids = read_panoptic_ids(data.root / "ade20k_panoptic_train/ADE_train_00000001.png")
    where = {"wall": (0, 50), "floor": (60, 50), "bed": (30, 12), "person": (30, 60), "void": (30, 0)}
    expected = {"wall": 256, "floor": 4 * 256, "bed": 8 * 256 + 1, "person": 13 * 256 + 2, "void": 0}
    assert {name: ids[pixel] for name, pixel in where.items()} == expected
    # The right half of the bed has no instance: void, though the semantic label has a bed there.
    assert ids[30, 30] == 0

    content = json.loads((data.root / "ade20k_panoptic_train.json").read_text())
    assert content["images"][1] == {
        "id": "ADE_train_00000002", "file_name": "ADE_train_00000002.jpg", "height": 64, "width": 96,
    }  # fmt: skip
    annotation = content["annotations"][0]
    assert (annotation["image_id"], annotation["file_name"]) == ("ADE_train_00000001", "ADE_train_00000001.png")
    bed = next(segment for segment in annotation["segments_info"] if segment["category_id"] == 7)
    assert bed == {"id": 2049, "category_id": 7, "area": 30 * 15, "bbox": [10, 20, 15, 30], "iscrowd": 0}
    # Wall: 32 x 92, less 12 rows of the bed (30 columns) and 12 of the person (30).
    areas = {segment["category_id"]: segment["area"] for segment in annotation["segments_info"]}
    assert areas == {0: 32 * 92 - 12 * 60, 3: 32 * 92 - 18 * 60, 7: 450, 12: 900}
    assert sum(category["isthing"] for category in content["categories"]) == 100


def test_the_records_have_both_ground_truths(prepared: Callable[..., Any]) -> None:
    data = prepared("ade20k")
    data.run()
    record = load_ade20k_panoptic(data.root, "train")[0]
    assert record["sem_seg_file_name"].endswith("annotations_detectron2/training/ADE_train_00000001.png")
    found = {(s["id"], s["category_id"], s["isthing"]) for s in record["segments_info"]}
    # Bed and person are the things 0 and 3; wall and floor have their semantic ids.
    assert found == {(256, 0, False), (1024, 3, False), (2049, 0, True), (3330, 3, True)}


def test_without_instances_semantic_labels_are_made(
    prepared: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    data = prepared("ade20k")
    (data.root / "annotations_instance.tar").unlink()
    data.run()
    assert len(list(data.root.glob("annotations_detectron2/*/*.png"))) == 3
    assert not list(data.root.glob("ade20k_panoptic*"))
    assert "no annotations_instance, so unified_ade20k_panoptic_* is left out" in caplog.text


@pytest.mark.parametrize(
    ("folder", "content", "message"),
    [
        ("annotations", np.full((64, 96), 151, np.uint8), r"label ids .* got 151"),
        ("annotations", np.ones((96, 64), np.uint8), r"96x64 pixels, its image has 64x96"),
        ("annotations", b"\x89PNG\r\n", "not a readable image"),
        (
            "annotations_instance",
            np.full((64, 96, 3), 101, np.uint8),
            "classes of instances .* got 101",
        ),
        ("annotations_instance", np.full((64, 96, 3), (0, 1, 0), np.uint8), "classes of instances .* got 0"),
        ("annotations_instance", np.zeros((96, 64, 3), np.uint8), r"\(96, 64\), .* \(64, 96\)"),
        ("annotations_instance", np.zeros((64, 96), np.uint8), "codes its ids as RGB"),
    ],
)
def test_a_wrong_label_is_named(
    folder: str, content: Any, message: str, prepared: Callable[..., Any], tmp_path: Path
) -> None:
    data = prepared("ade20k")
    data.run()
    for made in [*data.root.glob("annotations_detectron2/*/*.png"), *data.root.glob("ade20k_panoptic_train/*.png")]:
        made.unlink()
    for archive in data.download.archives:
        (data.root / archive).unlink()
    file = data.root / folder / "training/ADE_train_00000002.png"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        Image.fromarray(content).save(file)
    with pytest.raises(SystemExit, match=rf"^\w*Error: .*{folder}/training/ADE_train_00000002\.png: .*{message}"):
        data.run()


def test_a_json_of_some_images_is_written_again(prepared: Callable[..., Any]) -> None:
    data = prepared("ade20k")
    data.run()
    file = data.root / "ade20k_panoptic_train.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps({**whole, "images": whole["images"][:1], "annotations": whole["annotations"][:1]}))
    data.run()
    assert json.loads(file.read_text()) == whole
