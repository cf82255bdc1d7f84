"""Semantic labels of every kind, as semantic ids."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from three_classes import CAR, SKY, TABLE, TRUCK

from unified_seg.data.datasets.semantic_folder import build_semantic_table
from unified_seg.data.io.semantic_labels import PixelValues, has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.data.problems import DataError, Problem
from unified_seg.structures.class_table import ClassTable


class TestPixelValues:
    def test_dataset_ids_map_to_semantic_ids(self):
        values = PixelValues.from_table(TABLE, "dataset")
        meant = {value: int(i) for value, i in enumerate(values.to_semantic) if i != -1}
        assert meant == {0: 255, SKY: 0, CAR: 1, TRUCK: 2, 255: 255}
        assert values.from_semantic[[0, 1, 2, 255]].tolist() == [SKY, CAR, TRUCK, 255]
        assert values.from_semantic.dtype == np.uint8

    def test_contiguous_ids_stay_semantic_ids(self):
        values = PixelValues.from_table(TABLE, "contiguous")
        meant = {value: int(i) for value, i in enumerate(values.to_semantic) if i != -1}
        assert meant == {0: 0, 1: 1, 2: 2, 255: 255}
        assert values.from_semantic[[0, 1, 2, 255]].tolist() == [0, 1, 2, 255]

    def test_void_is_0_if_255_is_a_class(self):
        values = PixelValues.from_table(ClassTable([replace(TABLE.classes[0], dataset_id=255)]), "dataset")
        assert (values.to_semantic[0], values.to_semantic[255]) == (255, 0)
        assert values.from_semantic[[0, 255]].tolist() == [255, 0]

    def test_large_ids_need_two_bytes(self):
        values = PixelValues.from_table(ClassTable([replace(TABLE.classes[0], dataset_id=65535)]), "dataset")
        assert values.from_semantic[[0, 255]].tolist() == [65535, 255]

    def test_things_with_a_shared_semantic_id(self):
        table = ClassTable([replace(c, semantic_id=0, thing_id=i) for i, c in enumerate(TABLE.classes)])
        assert PixelValues.from_table(table, "contiguous").to_semantic[0] == 0
        with pytest.raises(DataError, match="several things share a semantic id"):
            PixelValues.from_table(table, "dataset")

    @pytest.mark.parametrize("ignore_label", [-1, 65536])
    def test_ignore_labels_outside_of_16_bits_are_refused(self, ignore_label: int):
        with pytest.raises(DataError, match=rf"must be in \[0, 65535\], got {ignore_label}"):
            PixelValues.from_table(ClassTable(TABLE.classes, ignore_label), "contiguous")

    def test_unknown_kinds_are_refused(self):
        with pytest.raises(ValueError, match="must be dataset or contiguous, got 'coco'"):
            PixelValues.from_table(TABLE, "coco")

    def test_ignored_values_are_void(self):
        values = PixelValues.from_table(TABLE, "dataset", ignored=(0, 9))
        meant = {value: int(i) for value, i in enumerate(values.to_semantic) if i != -1}
        assert meant == {0: 255, 9: 255, SKY: 0, CAR: 1, TRUCK: 2}

    def test_nothing_is_ignored(self):
        values = PixelValues.from_table(TABLE, "dataset", ignored=())
        assert values.to_dict() == {SKY: 0, CAR: 1, TRUCK: 2}

    def test_void_of_many_classes_is_65535(self):
        table = build_semantic_table([f"c{i}" for i in range(300)], [(0, 0, 0)] * 300)
        values = PixelValues.from_table(table, "dataset")
        assert (values.to_dict()[299], values.to_dict()[65535]) == (299, table.ignore_label)
        assert values.from_semantic[[255, table.ignore_label]].tolist() == [255, 65535]

    @pytest.mark.parametrize(
        ("ignored", "message"),
        [
            ((0, CAR), r"the values \[26\] can't be both ignored"),
            ((-1,), r"in \[0, 65535\]"),
            ((70000,), r"in \[0, 65535\]"),
        ],
    )
    def test_invalid_values_to_ignore_are_refused(self, ignored: tuple[int, ...], message: str):
        with pytest.raises(DataError, match=message):
            PixelValues.from_table(TABLE, "dataset", ignored)


def labeled(folder: Path, pixels: np.ndarray, **more: Any) -> dict[str, Any]:
    """A record with a semantic label of these pixels."""
    file = folder / "label.png"
    Image.fromarray(pixels).save(file)
    size = {"height": pixels.shape[0], "width": pixels.shape[1]}
    return {"file_name": "image.jpg", "sem_seg_file_name": str(file), **size, **more}


def segmented(folder: Path, ids: list[list[int]], *segments: tuple[int, int, bool]) -> dict[str, Any]:
    """A record with a panoptic map of these ids, and segments of (id, category_id, is a thing)."""
    pixels = np.array(ids)
    file = folder / "panoptic.png"
    Image.fromarray(np.stack([pixels % 256, pixels // 256, 0 * pixels], axis=-1).astype(np.uint8)).save(file)
    infos = [{"id": i, "category_id": category, "isthing": thing} for i, category, thing in segments]
    size = {"height": pixels.shape[0], "width": pixels.shape[1]}
    return {"file_name": "image.jpg", "pan_seg_file_name": str(file), "segments_info": infos, **size}


def test_labels_of_semantic_ids_are_unchanged(tmp_path: Path):
    record = labeled(tmp_path, np.array([[0, 1], [2, 255]], dtype=np.uint8))
    assert read_semantic_ground_truth(record, TABLE).tolist() == [[0, 1], [2, 255]]


def test_values_of_a_table_become_semantic_ids(tmp_path: Path):
    values = PixelValues.from_table(TABLE, "dataset", ignored=(0,)).to_dict()
    record = labeled(tmp_path, np.array([[SKY, 0], [TRUCK, CAR]], dtype=np.uint8), sem_seg_values=values)
    assert read_semantic_ground_truth(record, TABLE).tolist() == [[0, 255], [2, 1]]
    wrong = labeled(tmp_path, np.array([[SKY, 1], [28, 28]], dtype=np.uint8), sem_seg_values=values)
    with pytest.raises(DataError, match=r"label\.png: the values \[1, 28\] are neither a class nor void; 3 pixels"):
        read_semantic_ground_truth(wrong, TABLE)
    found: list[Problem] = []
    assert read_semantic_ground_truth(wrong, TABLE, found.append).tolist() == [[0, 255], [255, 255]]
    assert [problem.kind for problem in found] == ["label-id"]


def test_segments_have_the_classes_of_a_semantic_label(tmp_path: Path):
    # Sky is semantic id 0; of trucks, thing id 1, the semantic id is 2; what is no segment is void.
    record = segmented(tmp_path, [[7, 7, 0], [300, 300, 301]], (7, 0, False), (300, 1, True), (301, 0, True))
    assert read_semantic_ground_truth(record, TABLE).tolist() == [[0, 0, 255], [2, 2, 1]]


def test_semantic_labels_are_preferred_to_segments(tmp_path: Path):
    record = {**segmented(tmp_path, [[7]], (7, 0, False)), **labeled(tmp_path, np.array([[2]], dtype=np.uint8))}
    assert read_semantic_ground_truth(record, TABLE).tolist() == [[2]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ids_without_a_class_are_named(dtype: type, tmp_path: Path):
    record = labeled(tmp_path, np.array([[0, 77], [3, 255]], dtype=dtype))
    with pytest.raises(DataError, match=r"label\.png: label id 77 is neither a class \(0 to 2\) nor .* 2 pixels"):
        read_semantic_ground_truth(record, TABLE)
    found: list[Problem] = []
    assert read_semantic_ground_truth(record, TABLE, found.append).tolist() == [[0, 255], [255, 255]]
    assert [problem.kind for problem in found] == ["label-id"]


SEGMENTS: dict[str, tuple[tuple[int, int, bool], str]] = {
    "unknown to the JSON": ((8, 0, False), r"the segments \[7\] are in the PNG but not in segments_info"),
    "of an unknown class": ((7, 2, True), "no thing class has category_id 2"),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_segments_without_a_class_are_named(name: str, tmp_path: Path):
    segment, message = SEGMENTS[name]
    with pytest.raises(DataError, match=rf"panoptic\.png: {message}"):
        read_semantic_ground_truth(segmented(tmp_path, [[7]], segment), TABLE)


def test_labels_of_another_size_are_named(tmp_path: Path):
    for record in (labeled(tmp_path, np.zeros((2, 3), dtype=np.uint8)), segmented(tmp_path, [[0, 0, 0]] * 2)):
        with pytest.raises(DataError, match=r"\.png: 2x3 pixels, its image has 3x2 \(height x width\)"):
            read_semantic_ground_truth({**record, "height": 3, "width": 2}, TABLE)


def test_a_record_without_ground_truth_is_named():
    record = {"file_name": "some.jpg", "height": 1, "width": 1, "annotations": []}
    assert not has_semantic_ground_truth(record)
    with pytest.raises(DataError, match=r"some\.jpg: no semantic label"):
        read_semantic_ground_truth(record, TABLE)


def test_ids_of_two_bytes_are_read(tmp_path: Path):
    table = ClassTable([replace(TABLE.classes[0], dataset_id=40000)])
    values = PixelValues.from_table(table, "dataset").to_dict()
    record = labeled(tmp_path, np.array([[40000, 0]], dtype=np.uint16), sem_seg_values=values)
    assert read_semantic_ground_truth(record, table).tolist() == [[0, 255]]
