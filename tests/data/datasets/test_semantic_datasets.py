"""ADE20K, PASCAL VOC, COCO-Stuff 10k and Pascal-Context, on small trees in their layouts."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.pascal_voc import CLASS_NAMES as VOC_NAMES
from PIL import Image

from unified_seg.data.datasets.ade20k import load_ade20k
from unified_seg.data.datasets.coco_stuff import load_coco_stuff10k
from unified_seg.data.datasets.pascal_context import load_pascal_context60
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.datasets.semantic_folder import load_image_folder, load_semantic_folder
from unified_seg.data.datasets.voc import load_voc
from unified_seg.data.io.label_files import read_label
from unified_seg.data.problems import DataError, Problem
from unified_seg.data.validation.checks import check_labels

SIZE = (20, 30)


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(path)


def write_label(path: Path, ids: list[int], palette: list[tuple[int, int, int]] | None = None) -> None:
    """Rows of the ids, one after another; with a palette as VOC writes its own labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.resize(np.array(ids, np.uint8), SIZE[0])[:, None].repeat(SIZE[1], axis=1))
    if palette is not None:
        image.putpalette([channel for color in palette for channel in color])
    image.save(path)


@pytest.fixture
def ade20k(tmp_path: Path) -> Path:
    root = tmp_path / "ADEChallengeData2016"
    for folder, split, count in (("training", "train", 3), ("validation", "val", 2)):
        for number in range(1, count + 1):
            name = f"ADE_{split}_{number:08d}"
            write_image(root / "images" / folder / f"{name}.jpg")
            write_label(root / "annotations_detectron2" / folder / f"{name}.png", [0, 149, 255])
    return root


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOC2012"
    lists = {"train": ["2007_000032"], "trainaug": ["2008_000002", "2007_000032"], "val": ["2007_000033"]}
    colors = MetadataCatalog.get("unified_voc2012_val").stuff_colors
    palette = colors + [(0, 0, 0)] * (255 - len(colors)) + [(224, 224, 192)]
    for split, names in lists.items():
        file = root / "ImageSets/Segmentation" / f"{split}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{name}\n" for name in names))
        for name in names:
            write_image(root / "JPEGImages" / f"{name}.jpg")
            write_label(root / "SegmentationClassAug" / f"{name}.png", [0, 20, 255])
    for name in ("2007_000032", "2007_000033"):
        write_label(root / "SegmentationClass" / f"{name}.png", [0, 15, 255], palette)
    write_image(root / "JPEGImages" / "2009_000001.jpg")  # an image for VOC's other tasks
    return root


@pytest.fixture
def coco_stuff(tmp_path: Path) -> Path:
    root = tmp_path / "coco/coco_stuff_10k"
    for split, numbers in (("train", (77, 92)), ("test", (64,))):
        for number in numbers:
            name = f"COCO_train2014_{number:012d}"  # of the test split, too
            write_image(root / "images_detectron2" / split / f"{name}.jpg")
            write_label(root / "annotations_detectron2" / split / f"{name}.png", [0, 170, 255])
    return root


@pytest.fixture
def pascal_context(tmp_path: Path) -> Path:
    root = tmp_path / "VOC2010"
    for split, names in {"train": ["2008_000003", "2007_000032"], "val": ["2008_000002"]}.items():
        file = root / "ImageSets/SegmentationContext" / f"{split}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{name}\n" for name in names))
        for name in names:
            write_image(root / "JPEGImages" / f"{name}.jpg")
            write_label(root / "SegmentationClassContext" / f"{name}.png", [0, 59, 255])
    write_image(root / "JPEGImages" / "2010_000001.jpg")  # an image for VOC's other tasks
    return root


def test_ade20k_records_name_their_files(ade20k: Path) -> None:
    records = load_ade20k(ade20k, "train")
    assert [record["image_id"] for record in records] == [f"ADE_train_{i:08d}" for i in (1, 2, 3)]
    assert records[0] == {
        "file_name": str(ade20k / "images/training/ADE_train_00000001.jpg"),
        "sem_seg_file_name": str(ade20k / "annotations_detectron2/training/ADE_train_00000001.png"),
        "image_id": "ADE_train_00000001",
        "height": 20,
        "width": 30,
    }
    assert len(load_ade20k(ade20k, "val")) == 2


def test_voc_records_are_those_of_its_lists(voc: Path) -> None:
    assert [record["image_id"] for record in load_voc(voc, "trainaug")] == ["2008_000002", "2007_000032"]
    (record,) = load_voc(voc, "val")
    assert (record["height"], record["width"]) == SIZE
    assert record["file_name"] == str(voc / "JPEGImages/2007_000033.jpg")


def test_voc_trainaug_has_the_augmented_labels(voc: Path) -> None:
    own, augmented = load_voc(voc, "train")[0], load_voc(voc, "trainaug")[1]
    assert own["image_id"] == augmented["image_id"]
    assert np.unique(read_label(own["sem_seg_file_name"])).tolist() == [0, 15, 255]  # a palette PNG
    assert np.unique(read_label(augmented["sem_seg_file_name"])).tolist() == [0, 20, 255]


def test_coco_stuff_records_name_their_files(coco_stuff: Path) -> None:
    records = load_coco_stuff10k(coco_stuff, "train")
    assert [record["image_id"] for record in records] == ["COCO_train2014_000000000077", "COCO_train2014_000000000092"]
    (record,) = load_coco_stuff10k(coco_stuff, "test")
    assert record == {
        "file_name": str(coco_stuff / "images_detectron2/test/COCO_train2014_000000000064.jpg"),
        "sem_seg_file_name": str(coco_stuff / "annotations_detectron2/test/COCO_train2014_000000000064.png"),
        "image_id": "COCO_train2014_000000000064",
        "height": 20,
        "width": 30,
    }


def test_pascal_context_records_are_those_of_its_lists(pascal_context: Path) -> None:
    records = load_pascal_context60(pascal_context, "train")
    assert [record["image_id"] for record in records] == ["2008_000003", "2007_000032"]
    (record,) = load_pascal_context60(pascal_context, "val")
    assert record == {
        "file_name": str(pascal_context / "JPEGImages/2008_000002.jpg"),
        "sem_seg_file_name": str(pascal_context / "SegmentationClassContext/2008_000002.png"),
        "image_id": "2008_000002",
        "height": 20,
        "width": 30,
    }


@pytest.mark.parametrize(
    ("data_set", "splits", "classes"),
    [("ade20k", 2, 150), ("voc2012", 3, 21), ("coco_stuff10k", 2, 171), ("pascal_context60", 2, 60)],
)
def test_data_sets_are_registered_with_their_classes(data_set: str, splits: int, classes: int) -> None:
    names = [name for name in DatasetCatalog.list() if re.fullmatch(rf"unified_{data_set}_[a-z]+", name)]
    assert len(names) == splits
    for name in names:
        metadata = MetadataCatalog.get(name)
        assert metadata.evaluator_type == "unified_seg"
        table = dataset_classes(metadata)
        assert (table.num_semantic, table.num_things, table.ignore_label) == (classes, 0, 255)
        assert len(set(table.semantic_names)) == len(set(table.semantic_colors)) == classes
        assert table.semantic_names == [label.strip() for label in table.semantic_names]


def test_voc_classes_have_their_official_ids_and_colors() -> None:
    table = dataset_classes(MetadataCatalog.get("unified_voc2012_val"))
    # From the development kit's documentation; person is 15 = 0b01111: bits 0 and 3 are red, 1 green, 2 blue, and a
    # lower bit is worth more: red 128 + 64, green 128, blue 128.
    official = {
        0: ("background", (0, 0, 0)),
        1: ("aeroplane", (128, 0, 0)),
        8: ("cat", (64, 0, 0)),
        11: ("diningtable", (192, 128, 0)),
        15: ("person", (192, 128, 128)),
        20: ("tvmonitor", (0, 64, 128)),
    }
    found = {i: (table.semantic_names[i], table.semantic_colors[i]) for i in official}
    assert found == official


@pytest.mark.parametrize("name", ["unified_ade20k_train", "unified_ade20k_panoptic_train"])
def test_ade20k_classes_equal_detectron2(name: str) -> None:
    table = dataset_classes(MetadataCatalog.get(name))
    expected = dataset_classes(MetadataCatalog.get("ade20k_sem_seg_train"))
    assert table.semantic_names == [name.strip() for name in expected.semantic_names]
    assert table.semantic_names[0] == "wall" and table.semantic_names[149] == "flag"
    # color150.mat of the challenge's code.
    official = {0: (120, 120, 120), 1: (180, 120, 120), 2: (6, 230, 230), 12: (150, 5, 61), 149: (92, 0, 255)}
    assert {i: table.semantic_colors[i] for i in official} == official


def test_ade20k_things_are_those_of_the_challenge() -> None:
    table = dataset_classes(MetadataCatalog.get("unified_ade20k_panoptic_train"))
    # ade20k_instance_catid_mapping.txt of Mask2Former, from categoryMapping.txt of the Places challenge 2017: the class
    # 1 .. 150 of each of the 100.
    mapping = """
        8 9 11 13 15 16 19 20 21 23 24 25 28 31 32 33 34 36 37 38 39 40 42 43 44 45 46 48 50 51 54 56 57 58 59 63 65 66
        67 68 70 71 72 73 74 75 76 77 79 81 82 83 84 86 87 88 89 90 91 93 94 96 98 99 103 104 105 108 109 111 112 113
        116 117 119 120 121 122 124 125 126 127 128 130 131 133 134 135 136 137 138 139 140 143 144 145 147 148 149 150
    """
    assert [thing.semantic_id + 1 for thing in table.things] == [int(number) for number in mapping.split()]
    assert (table.num_things, table.num_semantic - table.num_things) == (100, 50)
    # Of instanceInfo100_train.txt: number -> name, if it is that of the 150.
    official = {1: "bed", 4: "person", 9: "car", 16: "fence", 50: "bus", 64: "bottle", 83: "bicycle", 100: "flag"}
    assert {number: table.things[number - 1].name for number in official} == official
    assert {c.name for c in table.classes if not c.is_thing} >= {"wall", "sky", "tree", "plant", "house", "tent"}
    # In the files, ids are those of the 150, from 0.
    assert table.things[0].dataset_id == 7


def test_voc_classes_are_in_the_four_groups_of_the_challenge() -> None:
    table = dataset_classes(MetadataCatalog.get("unified_voc2012_val"))
    assert table.categories == ["background", "vehicle", "animal", "indoor", "person"]
    assert np.bincount(table.category_of).tolist() == [1, 7, 6, 6, 1]


def test_coco_stuff_classes_have_their_official_order() -> None:
    names = dataset_classes(MetadataCatalog.get("unified_coco_stuff10k_train")).semantic_names
    # labels.txt of COCO-Stuff has 1 person .. 90 toothbrush for things, 92 banner .. 182 wood for stuff; eleven ids of
    # things have no pixel. So stop sign, 13 there, is 13 - 1 - 1 = 11 here: 12 is unused; book, 84, is 84 - 1 - 10
    # = 73; all stuff is its id - 12.
    official = {1: "person", 13: "stop sign", 84: "book", 90: "toothbrush", 92: "banner", 96: "building-other"}
    official |= {124: "grass", 149: "road", 157: "sky-other", 169: "tree", 173: "wall-other", 182: "wood"}
    unused = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91]
    assert {i: names[i - 1 - sum(u < i for u in unused)] for i in official} == official
    assert names[11] == "stop sign" and names[73] == "book" and names[170] == "wood"
    # 80 things and 91 kinds of stuff, which the official code (CocoStuffClasses.m) sorts.
    assert len(names[80:]) == 91 and names[80:] == sorted(names[80:])


def test_coco_stuff_and_coco_panoptic_group_classes_alike() -> None:
    """Their hierarchies were published apart: CocoStuffClasses.m and panoptic_coco_categories.json."""
    ten_thousand = dataset_classes(MetadataCatalog.get("unified_coco_stuff10k_train"))
    panoptic = dataset_classes(MetadataCatalog.get("unified_coco_panoptic_train"))
    category_of = {c.name: c.category for c in ten_thousand.classes}
    assert len(ten_thousand.categories) == 12 + 15
    of_panoptic = {c.name.removesuffix("-merged"): c.category for c in panoptic.classes}
    assert of_panoptic.keys() - category_of.keys() == {"ceiling"}
    assert {category_of[f"ceiling-{kind}"] for kind in ("tile", "other")} == {of_panoptic.pop("ceiling")}
    assert {name: category_of[name] for name in of_panoptic} == of_panoptic


def test_pascal_context_classes_have_their_official_order() -> None:
    table = dataset_classes(MetadataCatalog.get("unified_pascal_context60_train"))
    names = table.semantic_names
    assert names[0] == "background" and table.semantic_colors[0] == (0, 0, 0)
    # By their id among the authors' 459 classes (labels.txt), which are sorted: 2 aeroplane, 9 bag, 18 bed,
    # 19 bedclothes, 22 bench, 23 bicycle, 25 bird, 31 boat, 33 book, 34 bottle, ..., 454 window, 458 wood.
    assert " ".join(names[1:11]) == "aeroplane bag bed bedclothes bench bicycle bird boat book bottle"
    assert names[58:] == ["window", "wood"] and names[1:] == sorted(names[1:])
    # mmsegmentation's PascalContextDataset.
    assert (names[30], names[37], names[47], names[53]) == ("ground", "person", "sky", "tree")
    # VOC's classes are among them, the dining table under the name of all tables.
    assert set(VOC_NAMES) - set(names) == {"diningtable"} and "table" in names


@pytest.mark.parametrize(
    ("load", "name", "root"),
    [
        (load_ade20k, "ade20k", "ade20k"),
        (load_voc, "voc2012", "voc"),
        (load_coco_stuff10k, "coco_stuff10k", "coco_stuff"),
        (load_pascal_context60, "pascal_context60", "pascal_context"),
    ],
)
def test_labels_are_consistent(load: Callable[..., Any], name: str, root: str, request: pytest.FixtureRequest) -> None:
    table = dataset_classes(MetadataCatalog.get(f"unified_{name}_train"))
    records = load(request.getfixturevalue(root), "train")
    # Of 20 rows 7 have the first id, 7 the second, and the ignored 6 are not counted: 30 pixels in each.
    histogram = check_labels(records, table, name)
    assert histogram[0] == histogram.sum() / 2 == 7 * 30 * len(records)


def test_downloaded_labels_are_refused(ade20k: Path) -> None:
    # The download's labels count from 1, so that its last class is 150.
    write_label(ade20k / "annotations_detectron2/training/ADE_train_00000002.png", [0, 150])
    table = dataset_classes(MetadataCatalog.get("unified_ade20k_train"))
    with pytest.raises(DataError, match=r"train_00000002\.png: label id 150 is neither a class \(0 to 149\)"):
        check_labels(load_ade20k(ade20k, "train"), table, "ade20k")


def test_coco_stuff_labels_of_another_preparation_are_refused(coco_stuff: Path) -> None:
    labels = coco_stuff / "annotations_detectron2/train"
    # mmsegmentation's labels count from 1, so that its last class is 171, and have names of their own.
    write_label(labels / "COCO_train2014_000000000092.png", [1, 171])
    table = dataset_classes(MetadataCatalog.get("unified_coco_stuff10k_train"))
    with pytest.raises(DataError, match=r"000092\.png: label id 171 is neither a class \(0 to 170\)"):
        check_labels(load_coco_stuff10k(coco_stuff, "train"), table, "coco_stuff10k")
    for file in list(labels.iterdir()):
        file.rename(labels / f"{file.stem}_labelTrainIds.png")
    with pytest.raises(
        DataError, match=r"000077\.jpg: its label .*_000000000077\.png does not exist; put cocostuff-10k-v1\.0"
    ):
        load_coco_stuff10k(coco_stuff, "train")


@pytest.mark.parametrize("folder", ["images_detectron2/test", "annotations_detectron2/test"])
def test_a_missing_coco_stuff_folder_says_how_to_get_it(folder: str, coco_stuff: Path) -> None:
    shutil.rmtree(coco_stuff / folder)
    with pytest.raises(DataError, match=rf"{folder}: there is no such folder; .*prepare_coco_stuff10k\.py"):
        load_coco_stuff10k(coco_stuff, "test")


@pytest.mark.parametrize("folder", ["images/training", "annotations_detectron2/training"])
def test_a_missing_folder_says_how_to_get_it(folder: str, ade20k: Path) -> None:
    shutil.rmtree(ade20k / folder)
    with pytest.raises(DataError, match=rf"{folder}: there is no such folder; .*prepare_ade20k\.py"):
        load_ade20k(ade20k, "train")


def test_an_empty_folder_is_an_error(ade20k: Path) -> None:
    shutil.rmtree(ade20k / "images/training")
    (ade20k / "images/training").mkdir()
    with pytest.raises(DataError, match=r"images/training: no \.jpg or .* file in it; put ADEChallengeData2016\.zip"):
        load_ade20k(ade20k, "train")


def test_an_image_without_a_label_is_an_error(ade20k: Path) -> None:
    (ade20k / "annotations_detectron2/training/ADE_train_00000002.png").unlink()
    with pytest.raises(DataError, match=r"ADE_train_00000002\.jpg: its label .*_00000002\.png does not exist"):
        load_ade20k(ade20k, "train")


def test_labels_without_an_image_are_reported(ade20k: Path, caplog: pytest.LogCaptureFixture) -> None:
    (ade20k / "images/training/ADE_train_00000002.jpg").unlink()
    assert len(load_ade20k(ade20k, "train")) == 2
    assert "1 labels have no image" in caplog.text and "ADE_train_00000002 first" in caplog.text


def test_two_images_of_one_name_are_an_error(ade20k: Path) -> None:
    write_image(ade20k / "images/training/ADE_train_00000002.PNG")
    with pytest.raises(DataError, match=r"images/training: ADE_train_00000002\.\w+ and ADE_train_00000002\.\w+"):
        load_ade20k(ade20k, "train")


def test_unreadable_images_have_the_size_of_their_label(ade20k: Path) -> None:
    (ade20k / "images/training/ADE_train_00000002.jpg").write_text("<html>")
    record = load_ade20k(ade20k, "train")[1]
    assert (record["height"], record["width"]) == SIZE
    (ade20k / "annotations_detectron2/training/ADE_train_00000002.png").write_text("<html>")
    with pytest.raises(DataError, match=r"ADE_train_00000002\.jpg: not a readable image"):
        load_ade20k(ade20k, "train")


@pytest.mark.parametrize(("kind", "damage"), [("missing-file", "a broken link"), ("unsupported", "a GIF")])
def test_images_that_are_no_files_of_images_are_reported(kind: str, damage: str, ade20k: Path) -> None:
    folder = ade20k / "images/training"
    broken = folder / "ADE_train_00000002.jpg"
    broken.unlink()
    if damage == "a GIF":
        Image.new("L", (4, 4)).save(broken, format="GIF")
    else:
        broken.symlink_to("gone.jpg")
    found: list[Problem] = []
    labels = ade20k / "annotations_detectron2/training"
    records = load_semantic_folder(folder, labels, how_to_get="", report=found.append)
    assert len(records) == 2 and [(p.kind, p.file) for p in found] == [(kind, str(broken))]
    found.clear()
    assert len(load_image_folder(folder, "", report=found.append)) == 2 and [p.kind for p in found] == [kind]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("ImageSets/Segmentation/trainaug.txt", r"trainaug\.txt: there is no such file; .*Semantic Boundaries Dataset"),
        ("SegmentationClassAug/2008_000002.png", r"2008_000002\.jpg: its label .*Aug/2008_000002\.png does not exist"),
        ("JPEGImages/2008_000002.jpg", r"JPEGImages/2008_000002: no image of that name \(\.jpg, .*\); put VOCtrainval"),
    ],
)
def test_missing_files_of_voc_lists_are_named(file: str, message: str, voc: Path) -> None:
    (voc / file).unlink()
    with pytest.raises(DataError, match=message):
        load_voc(voc, "trainaug")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("ImageSets/SegmentationContext/train.txt", r"train\.txt: there is no such file; .*prepare_pascal_context\.py"),
        (
            "SegmentationClassContext/2008_000003.png",
            r"2008_000003\.jpg: its label .*Context/2008_000003\.png does",
        ),
        ("JPEGImages/2008_000003.jpg", r"JPEGImages/2008_000003: no image of that name \(\.jpg, .*03-May-2010"),
    ],
)
def test_missing_files_of_pascal_context_lists_are_named(file: str, message: str, pascal_context: Path) -> None:
    (pascal_context / file).unlink()
    with pytest.raises(DataError, match=message):
        load_pascal_context60(pascal_context, "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"val\.txt: it is empty"),
        (b"\n", r"val\.txt: it is empty"),
        (b"2007_000033\n\n../../secret\n", r"val\.txt, line 3: must be an image name .*, got '../../secret'"),
        (b"/JPEGImages/a.jpg /SegmentationClassAug/a.png\n", r"val\.txt, line 1: must be an image name"),
        (b"JPEGImages/a.jpg GroundTruth/a.png\n", r"val\.txt, line 1: must be an image name"),
        (b"\xff\xfe\x00", r"val\.txt: not readable as a list of image names"),
    ],
)
@pytest.mark.parametrize(
    ("tree", "folder", "load"),
    [("voc", "Segmentation", load_voc), ("pascal_context", "SegmentationContext", load_pascal_context60)],
)
def test_wrong_lists_are_named(
    tree: str,
    folder: str,
    load: Callable[[Path, str], list[dict[str, Any]]],
    content: bytes,
    message: str,
    request: pytest.FixtureRequest,
) -> None:
    root = request.getfixturevalue(tree)
    (root / "ImageSets" / folder / "val.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(root, "val")
