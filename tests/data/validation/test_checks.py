import copy
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from PIL import Image

from unified_seg.data.datasets import alignment
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.label_files import read_label
from unified_seg.data.problems import DataError, Problem
from unified_seg.data.validation.checks import TolerantReport, check_datasets, check_fields, check_labels, check_record
from unified_seg.structures.class_table import ClassTable

Record = dict[str, Any]


@pytest.fixture
def records(tiny_config: CfgNode) -> list[Record]:
    return copy.deepcopy(DatasetCatalog.get(tiny_config.DATASETS.TRAIN[0]))


@pytest.fixture
def table(tiny_config: CfgNode) -> ClassTable:
    return dataset_classes(MetadataCatalog.get(tiny_config.DATASETS.TRAIN[0]))


def test_pixels_of_classes_are_counted(records: list[Record], table: ClassTable) -> None:
    histogram = check_labels(records, table, "x")
    labels = np.stack([read_label(r["sem_seg_file_name"]) for r in records])
    assert histogram.tolist() == [int((labels == i).sum()) for i in range(19)]
    # By hand: cars of 30 x 20 and 24 x 16 in image 0, the second again in image 1, where a bicycle is beside it.
    assert histogram[13] == 600 + 384 + 384
    # The void of rows 60 to 63 is not counted.
    assert histogram.sum() == 4 * 60 * 128


def test_class_shares_and_absent_classes_are_logged(tiny_config: CfgNode, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        check_datasets(tiny_config)
    assert "labels are consistent" in caplog.text
    # Of the training set and of the test set, whose labels are read before training too.
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert [w.split(":")[0] for w in warnings] == [*tiny_config.DATASETS.TRAIN, *tiny_config.DATASETS.TEST]
    assert all("no pixel of sidewalk, wall" in w and "car" not in w for w in warnings)


@pytest.mark.parametrize("case", ["no instance", "crowds only", "only void"])
@pytest.mark.parametrize("split", ["TRAIN", "TEST"])
def test_undefined_scores_of_test_sets_are_warned_of(
    case: str,
    split: str,
    tiny_config: CfgNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = tiny_config.DATASETS[split][0]
    loaded = {each: DatasetCatalog.get(each) for each in (*tiny_config.DATASETS.TRAIN, *tiny_config.DATASETS.TEST)}
    monkeypatch.setattr(alignment, "DatasetCatalog", SimpleNamespace(get=loaded.__getitem__))
    for record in loaded[name]:
        if case == "no instance":
            record["annotations"] = []
        elif case == "crowds only":
            record["annotations"] = [{"iscrowd": 1, "category_id": 0, "bbox": [0, 0, 1, 1], "bbox_mode": 0}]
        else:
            redraw(record, "sem_seg_file_name", tmp_path, painted(255, slice(None), slice(None)))
    tiny_config.MODEL.MASK_ON = False
    check_datasets(tiny_config)
    warned = [r.message for r in caplog.records if "undefined" in r.message]
    assert all(message.startswith(name) for message in warned)
    assert len(warned) == (1 if split == "TEST" or case == "only void" else 0)


def test_share_of_void_pixels_is_logged(tiny_config: CfgNode, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        check_datasets(tiny_config)
    assert sum("6.25 % of the pixels are void" in record.message for record in caplog.records) == 2


def test_labels_are_not_read_without_check_labels(tiny_config: CfgNode, caplog: pytest.LogCaptureFixture) -> None:
    tiny_config.DATASETS.CHECK_LABELS = False
    with caplog.at_level(logging.INFO):
        check_datasets(tiny_config)
    assert "consistent" not in caplog.text


def redraw(record: Record, key: str, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Put a changed copy of one of the record's files in its place."""
    with Image.open(record[key]) as image:
        array = np.array(image)
    file = folder / f"changed_{key}.png"
    Image.fromarray(change(array)).save(file)
    record[key] = str(file)


def painted(value: Any, rows: slice = slice(0, 3), columns: slice = slice(0, 4)) -> Callable[[np.ndarray], np.ndarray]:
    def paint(array: np.ndarray) -> np.ndarray:
        array[rows, columns] = value
        return array

    return paint


def to_sixteen_bits(array: np.ndarray) -> np.ndarray:
    return painted(300)(array.astype(np.uint16))


def crop(array: np.ndarray) -> np.ndarray:
    return array[:, :100]


def transpose(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.swapaxes(0, 1))


# (file to change, the change, the message)
FILES = [
    (
        "sem_seg_file_name",
        painted(19),
        r"label id 19 is neither a class \(0 to 18\) nor the ignore label 255; 12 pixels",
    ),
    ("sem_seg_file_name", to_sixteen_bits, "label id 300 is neither"),
    ("sem_seg_file_name", crop, "64x100 pixels, its image has 64x128"),
    ("sem_seg_file_name", transpose, "128x64 pixels, its image has 64x128"),
    ("pan_seg_file_name", crop, "64x100 pixels, its image has 64x128"),
    ("pan_seg_file_name", painted((9, 9, 0)), r"the segments \[2313\] are in the PNG but not"),  # 9 + 9 * 256
    ("file_name", crop, "64x100 pixels, but its record has 64x128"),
]


@pytest.mark.parametrize(("key", "change", "message"), FILES)
def test_wrong_files_are_named(
    key: str, change: Callable, message: str, records: list[Record], table: ClassTable, tmp_path: Path
) -> None:
    redraw(records[1], key, tmp_path, change)
    with pytest.raises(DataError, match=rf"changed_{key}\.png: {message}"):
        check_labels(records, table, "x")


@pytest.mark.parametrize("key", ["file_name", "sem_seg_file_name", "pan_seg_file_name"])
def test_missing_files_are_named(key: str, records: list[Record], table: ClassTable) -> None:
    records[2][key] = "/nowhere/gone.png"
    with pytest.raises(DataError, match=r"/nowhere/gone\.png: there is no such file"):
        check_labels(records, table, "x")


# (change of the first segment's entry, the message)
SEGMENTS = [
    ({"id": 12345}, r"segments \[.*\] are in"),
    ({"category_id": 19, "isthing": False}, "no stuff class has category_id 19"),
    ({"category_id": 8, "isthing": True}, "no thing class has category_id 8"),
    ({"category_id": 13, "isthing": False}, "no stuff class has category_id 13"),  # car is a thing
]


@pytest.mark.parametrize(("change", "message"), SEGMENTS)
def test_wrong_segments_are_named(
    change: dict[str, Any], message: str, records: list[Record], table: ClassTable
) -> None:
    records[0]["segments_info"][0].update(change)
    file = Path(records[0]["pan_seg_file_name"]).name
    with pytest.raises(DataError, match=rf"{file}: .*{message}"):
        check_labels(records, table, "x")


def test_segments_only_in_the_json_are_named(records: list[Record], table: ClassTable) -> None:
    extra = {"id": 26999, "category_id": 2, "isthing": True, "iscrowd": 0}
    records[0]["segments_info"].append(extra)
    with pytest.raises(DataError, match=r"panoptic\.png: the segment 26999 is in segments_info but not"):
        check_labels(records, table, "x")


def test_repeated_segments_are_named(records: list[Record], table: ClassTable) -> None:
    segments = records[0]["segments_info"]
    segments.append(dict(segments[0]))
    with pytest.raises(DataError, match=r"panoptic\.png: the segment \d+ is in segments_info twice"):
        check_labels(records, table, "x")


def test_annotations_of_unknown_classes_are_named(records: list[Record], table: ClassTable) -> None:
    records[0]["annotations"] = [{"category_id": 8}]
    with pytest.raises(DataError, match=r"leftImg8bit\.png: annotation 0: category_id must be .*\[0, 7\], got 8"):
        check_labels(records, table, "x")


def test_wrong_labels_of_training_sets_are_errors(tiny_config: CfgNode, records: list[Record], tmp_path: Path) -> None:
    redraw(records[3], "sem_seg_file_name", tmp_path, painted(77))
    name = "unified_test_streets_spoilt"
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(
        **{k: v for k, v in MetadataCatalog.get(tiny_config.DATASETS.TRAIN[0]).as_dict().items() if k != "name"}
    )
    tiny_config.DATASETS.TRAIN = (name,)
    try:
        with pytest.raises(DataError, match=r"changed_sem_seg_file_name\.png: label id 77"):
            check_datasets(tiny_config)
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_missing_ground_truth_of_a_part_is_named(records: list[Record]) -> None:
    check_fields({"x": records}, semantic=True, instances=True)
    del records[1]["sem_seg_file_name"]  # its segments have classes
    check_fields({"x": records}, semantic=True, instances=True)
    del records[1]["pan_seg_file_name"]
    check_fields({"x": records}, semantic=False, instances=False)
    with pytest.raises(DataError, match=r"000001_000019_leftImg8bit\.png: no semantic label"):
        check_fields({"x": records}, semantic=True, instances=False)
    with pytest.raises(DataError, match=r"000001_000019_leftImg8bit\.png: no instances"):
        check_fields({"x": records}, semantic=False, instances=True)
    records[1]["annotations"] = []
    check_fields({"x": records}, semantic=False, instances=True)


def test_missing_masks_are_named(records: list[Record]) -> None:
    records[1]["annotations"] = [{"id": 4, "category_id": 0, "iscrowd": 1}, {"id": 5, "category_id": 0}]
    check_fields({"x": records}, semantic=False, instances=True)
    with pytest.raises(DataError, match=r"000001_000019_leftImg8bit\.png: annotation 5 has no segmentation"):
        check_fields({"x": records}, semantic=False, instances=True, masks=True)


def test_decode_finds_truncated_images(tiny_config: CfgNode, records: list[Record], tmp_path: Path) -> None:
    """Damage behind the header would end the evaluation after the training."""
    file = tmp_path / "cut.png"
    file.write_bytes(Path(records[0]["file_name"]).read_bytes()[:-60])
    records[0]["file_name"] = str(file)
    table = dataset_classes(MetadataCatalog.get(tiny_config.DATASETS.TRAIN[0]))
    check_labels(records, table, "x")
    with pytest.raises(DataError, match=r"cut\.png: not a readable image"):
        check_labels(records, table, "x", decode=True)


def test_damaged_training_images_are_tolerated_up_to_a_limit(records: list[Record], table: ClassTable) -> None:
    for index in (0, 1):
        records[index]["file_name"] = __file__
    check_labels(records[:1], table, "x", report=TolerantReport(1))
    records[1]["file_name"] = str(Path(__file__).with_name("test_survey.py"))
    with pytest.raises(DataError, match=r"MAX_UNREADABLE is 1, this is file 2"):
        check_labels(records, table, "x", report=TolerantReport(1))


def test_data_sets_can_train_different_parts(records: list[Record], caplog: pytest.LogCaptureFixture) -> None:
    def only(*keys: str) -> list[Record]:
        return [{k: r[k] for k in ("file_name", "image_id", "height", "width", *keys)} for r in records]

    semantic = only("sem_seg_file_name")
    instances = [{**r, "annotations": []} for r in only()]
    check_fields({"a": semantic, "b": instances}, semantic=True, instances=True)
    assert [r.message.split(" (")[0] for r in caplog.records] == ["b: no semantic label", "a: no instances"]
    assert "these 4 images do not train the detector" in caplog.text
    with pytest.raises(DataError, match=r"no semantic label .* which the semantic head needs"):
        check_fields({"b": instances}, semantic=True, instances=True)


def test_an_empty_data_set_is_an_error() -> None:
    with pytest.raises(DataError, match="data set 'x' has no records"):
        check_fields({"x": []}, semantic=True, instances=True)


def test_repeated_image_ids_are_named(records: list[Record]) -> None:
    records[3]["image_id"] = records[0]["image_id"]
    with pytest.raises(DataError, match=r"000003_000019_leftImg8bit\.png: its image id 'alpha_000000_000019' .* twice"):
        check_fields({"x": records}, semantic=True, instances=True)


BOX = {"category_id": 0, "bbox_mode": BoxMode.XYWH_ABS, "bbox": [2.0, 3.0, 10.0, 5.0]}
# (annotation, kind, the message)
ANNOTATIONS: list[tuple[dict[str, Any], str, str]] = [
    ({**BOX, "category_id": 8}, "class", "category_id must be a thing id in [0, 7], got 8"),
    ({**BOX, "bbox": [2.0, 3.0, -10.0, 5.0]}, "box", "invalid box"),
    ({**BOX, "bbox": [2.0, float("nan"), 10.0, 5.0]}, "box", "invalid box"),
    ({**BOX, "bbox": [2.0, 3.0, 10.0, 64.0]}, "box-outside", "image of (64, 128)"),
    ({**BOX, "segmentation": [[1.0, 1.0, 2.0, 2.0]]}, "mask", "must have at least 3 points"),
    ({**BOX, "segmentation": {"size": [64, 128], "counts": [5]}}, "mask", "do not add up"),
]


@pytest.mark.parametrize(("annotation", "kind", "message"), ANNOTATIONS)
def test_wrong_annotations_are_reported(
    annotation: dict[str, Any], kind: str, message: str, records: list[Record], table: ClassTable
) -> None:
    found: list[Problem] = []
    check_record({**records[0], "annotations": [BOX, {**annotation, "id": 31}]}, table, found.append)
    (problem,) = found
    assert (problem.kind, problem.file, problem.record) == (kind, records[0]["file_name"], "annotation 31")
    assert problem.cause.startswith(message) or message in problem.cause


def test_all_problems_of_a_record_are_reported(records: list[Record], table: ClassTable, tmp_path: Path) -> None:
    record = records[0]
    redraw(record, "sem_seg_file_name", tmp_path, painted(19))
    redraw(record, "pan_seg_file_name", tmp_path, painted((9, 9, 0)))
    record["segments_info"][0]["category_id"] = 99
    record["segments_info"][1]["area"] = 3
    record["file_name"] = "/nowhere/gone.png"
    found: list[Problem] = []
    check_record(record, table, found.append)
    kinds = {(p.kind, p.file.rpartition("/")[2]) for p in found}
    label, panoptic = "changed_sem_seg_file_name.png", "changed_pan_seg_file_name.png"
    assert kinds == {
        ("missing-file", "gone.png"),
        ("label-id", label),
        ("segments", panoptic),
        ("class", panoptic),
        ("area", panoptic),
    }
    assert [p.is_error for p in found if p.kind == "area"] == [False]


def test_a_different_area_is_a_warning(records: list[Record], table: ClassTable) -> None:
    records[0]["segments_info"][0]["area"] = 1  # areas are counted in the PNG
    assert check_labels(records, table, "x").sum() == 4 * 60 * 128


@pytest.mark.parametrize(("orientation", "kinds"), [(3, ["orientation"]), (6, ["orientation", "size"])])
def test_rotated_images_are_reported(
    orientation: int, kinds: list[str], records: list[Record], table: ClassTable, tmp_path: Path
) -> None:
    # The label is of the pixels as they are stored: after a quarter turn its size is another, after a half turn only a
    # person can see it.
    with Image.open(records[0]["file_name"]) as image:
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(tmp_path / "turned.jpg", exif=exif)
    records[0]["file_name"] = str(tmp_path / "turned.jpg")
    found: list[Problem] = []
    check_record(records[0], table, found.append)
    assert [problem.kind for problem in found] == kinds


@pytest.mark.parametrize(("train", "test", "is_error"), [(1, 1, True), (0, 1, True), (1, 0, False)])
def test_images_of_test_sets_are_read_also_if_they_train(
    train: int, test: int, is_error: bool, tiny_config: CfgNode, records: list[Record], tmp_path: Path
) -> None:
    """A damaged image does not end a training, but the evaluation after it."""
    file = tmp_path / "cut.png"
    file.write_bytes(Path(records[0]["file_name"]).read_bytes()[:-60])
    records[0]["file_name"] = str(file)
    whole, name = tiny_config.DATASETS.TRAIN[0], "unified_test_streets_cut"
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(**{k: v for k, v in MetadataCatalog.get(whole).as_dict().items() if k != "name"})
    tiny_config.DATASETS.TRAIN, tiny_config.DATASETS.TEST = ((whole, name)[train],), ((whole, name)[test],)
    try:
        if is_error:
            with pytest.raises(DataError, match=r"cut\.png: not a readable image"):
                check_datasets(tiny_config)
        else:
            check_datasets(tiny_config)
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
