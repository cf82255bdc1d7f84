"""COCO's panoptic format from labelme's drawings of things and stuff: by hand, and as a custom data set reads it.

The pond is 6 x 10 pixels.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unified_seg.data.coco.categories import read_classes
from unified_seg.data.conversion.labelme_to_panoptic import convert_labelme_to_panoptic, is_validation
from unified_seg.data.datasets.custom import CustomDataset
from unified_seg.data.io.label_files import read_label, read_panoptic_ids
from unified_seg.data.problems import DataError
from unified_seg.data.validation.checks import check_record

SIZE = (6, 10)
CLASSES = "[{name: water, id: 4}, {name: reed, id: 6}, {name: duck, id: 9, isthing: 1}]"


def rectangle(label: str, top: int, left: int, bottom: int, right: int, group: int | None = None) -> dict[str, Any]:
    return {"label": label, "points": [[left, top], [right, bottom]], "shape_type": "rectangle", "group_id": group}


# A duck on the water, drawn before it; the lake has an island of nothing in its corner, with reed on a part of it.
SHAPES = [
    rectangle("duck", 2, 1, 4, 4),
    rectangle("water", 1, 0, 6, 10),
    rectangle("_background_", 4, 6, 6, 10),
    rectangle("reed", 4, 8, 6, 10),
    rectangle("reed", 0, 0, 1, 2),
    rectangle("__ignore__", 5, 0, 6, 3),
]
IDS = np.array([
    [6, 6, 0, 0, 0, 0, 0, 0, 0, 0],
    [4, 4, 4, 4, 4, 4, 4, 4, 4, 4],
    [4, 9, 9, 9, 4, 4, 4, 4, 4, 4],
    [4, 9, 9, 9, 4, 4, 4, 4, 4, 4],
    [4, 4, 4, 4, 4, 4, 0, 0, 6, 6],
    [0, 0, 0, 4, 4, 4, 0, 0, 6, 6],
])  # fmt: skip


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    folder = tmp_path / "drawn"
    (folder / "far").mkdir(parents=True)
    for index in range(12):
        name = f"{index}.png" if index else "far/0.jpg"
        Image.new("RGB", SIZE[::-1]).save(folder / name)
        content = {"shapes": SHAPES, "imagePath": Path(name).name, "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
        (folder / name).with_suffix(".json").write_text(json.dumps(content))
    (tmp_path / "classes.yaml").write_text(CLASSES)
    return tmp_path


def convert(folder: Path, **options: Any) -> Any:
    return convert_labelme_to_panoptic(folder / "drawn", folder / "out", **options)


def test_things_lie_over_stuff_and_holes_are_void(drawn: Path) -> None:
    made = convert(drawn, classes_file=drawn / "classes.yaml")
    assert made.images == {"": 12} and made.segments == 12 * 3 and made.hidden == 0
    assert made.void == pytest.approx((IDS == 0).sum() / IDS.size)
    content = json.loads((drawn / "out/panoptic.json").read_text())
    annotation = next(a for a in content["annotations"] if a["file_name"] == "far/0.png")
    category_of = {0: 0} | {s["id"]: s["category_id"] for s in annotation["segments_info"]}
    ids = read_panoptic_ids(drawn / "out/panoptic/far/0.png")
    assert [[category_of[i] for i in row] for row in ids.tolist()] == IDS.tolist()
    assert {s["category_id"]: s["area"] for s in annotation["segments_info"]} == {4: 33, 6: 6, 9: 6}
    assert read_label(drawn / "out/semantic/far/0.png").tolist() == np.where(IDS == 0, 255, IDS).tolist()
    assert [c.name for c in read_classes(drawn / "out/classes.yaml").classes] == ["water", "reed", "duck"]


def test_a_custom_data_set_reads_all_three(drawn: Path) -> None:
    convert(drawn, stuff=["water", "reed"], val_share=0.4)
    for split in ("train", "val"):
        entry = {"NAME": f"pond {split}", "IMAGES": "drawn", "CLASSES": "out/classes.yaml"}
        entry |= {"PANOPTIC": f"out/panoptic_{split}.json", "SEMANTIC": f"out/semantic_{split}"}
        dataset = CustomDataset.from_entry({**entry, "INSTANCES": f"out/instances_{split}.json"}, drawn)
        records = dataset.load()
        for record in records:
            check_record(record, dataset.read_table())
        # A duck, and the ignored region as a crowd of ducks.
        assert {len(record["annotations"]) for record in records} == {2}


def test_the_classes_of_an_earlier_conversion_stay(drawn: Path) -> None:
    convert(drawn, stuff=["water", "reed"])
    written = (drawn / "out/classes.yaml").read_bytes()
    for index in range(1, 12):
        (drawn / f"drawn/{index}.json").unlink()
    content = json.loads((drawn / "drawn/far/0.json").read_text())
    (drawn / "drawn/far/0.json").write_text(json.dumps({**content, "shapes": SHAPES[:1]}))
    assert convert(drawn, classes_file=drawn / "out/classes.yaml").segments == 1
    assert (drawn / "out/classes.yaml").read_bytes() == written
    categories = json.loads((drawn / "out/panoptic.json").read_text())["categories"]
    assert [category["name"] for category in categories] == ["duck", "reed", "water"]


def test_splits_are_disjoint_and_stay_when_images_are_added(drawn: Path) -> None:
    def images_of(split: str) -> set[str]:
        content = json.loads((drawn / f"out/panoptic_{split}.json").read_text())
        return {image["file_name"] for image in content["images"]}

    for index in range(6, 12):
        (drawn / f"drawn/{index}.json").rename(drawn / f"{index}.json")
    convert(drawn, stuff=["water", "reed"], val_share=0.4)
    before = {split: images_of(split) for split in ("train", "val")}
    for index in range(6, 12):
        (drawn / f"{index}.json").rename(drawn / f"drawn/{index}.json")
    convert(drawn, stuff=["water", "reed"], val_share=0.4)
    after = {split: images_of(split) for split in ("train", "val")}
    assert not after["train"] & after["val"] and len(after["train"] | after["val"]) == 12
    assert all(before[split] <= after[split] for split in after)


@given(st.text(min_size=1).filter(lambda name: name.strip("./")), st.floats(0.1, 0.9))
def test_a_larger_share_keeps_the_validation_images(name: str, share: float) -> None:
    assert is_validation(name, share) <= is_validation(name, share + 0.1)


def test_labels_and_splits_that_do_not_fit_are_errors(drawn: Path) -> None:
    with pytest.raises(DataError, match=r"--stuff eel.*duck, reed, water"):
        convert(drawn, stuff=["eel"])
    (drawn / "classes.yaml").write_text("[{name: water, id: 4}]")
    with pytest.raises(DataError, match=r"far/0\.json|\.json: .*'duck'.*classes\.yaml"):
        convert(drawn, classes_file=drawn / "classes.yaml")
    with pytest.raises(DataError, match=r"--val-share 0\.0001: .* val"):
        convert(drawn, stuff=["water"], val_share=0.0001)
    assert not (drawn / "out").exists()


def test_images_with_one_name_of_a_png_are_refused(drawn: Path) -> None:
    Image.new("RGB", SIZE[::-1]).save(drawn / "drawn/1.jpg")
    content = {"shapes": SHAPES, "imagePath": "1.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    (drawn / "drawn/other.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"1\.(jpg|png) and 1\.(jpg|png) would both have the PNG 1\.png"):
        convert(drawn)


def test_a_conversion_that_ends_early_leaves_no_earlier_annotations(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(drawn)

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unified_seg.data.conversion.labelme_to_panoptic.map_in_parallel", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(drawn)
    assert not list((drawn / "out").glob("*.json"))


def test_images_in_the_output_folder_are_refused(drawn: Path) -> None:
    image = drawn / "out/semantic/a.png"
    image.parent.mkdir(parents=True)
    image.write_bytes((drawn / "drawn/1.png").read_bytes())
    with pytest.raises(DataError, match=r"out: the output must not overlap with the input .*semantic"):
        convert(drawn, image_root=image.parent)
    assert image.read_bytes() == (drawn / "drawn/1.png").read_bytes()


def test_drawings_without_a_class_are_an_error(drawn: Path) -> None:
    for index in range(1, 12):
        (drawn / f"drawn/{index}.json").unlink()
    content = json.loads((drawn / "drawn/far/0.json").read_text())
    (drawn / "drawn/far/0.json").write_text(json.dumps({**content, "shapes": []}))
    with pytest.raises(DataError, match=r"drawn: no shape in it has a class; --classes"):
        convert(drawn)
