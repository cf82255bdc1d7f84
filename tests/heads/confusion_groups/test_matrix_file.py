import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unified_seg.data.io.image_files import read_label
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.heads.confusion_groups.matrix_file import read_confusion
from unified_seg.structures.class_table import ClassTable

NAMES = ["road", "car", "sky"]
COUNTS = np.array([[5, 1, 0], [2, 7, 0], [0, 0, 3]])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sem_seg.npz"


def refused(path: Path, class_names: list[str] | None = None) -> str:
    """What the error says beside the file's name, with which it begins."""
    with pytest.raises(ValueError) as caught:
        read_confusion(path, class_names or [])
    assert type(caught.value) is ValueError
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_what_an_evaluation_writes(tiny_dataset, tmp_path: Path):
    table = ClassTable.from_metadata(MetadataCatalog.get(tiny_dataset.val))
    records = DatasetCatalog.get(tiny_dataset.val)
    evaluator = SemanticEvaluator(table, records, tmp_path)
    evaluator.reset()
    road, car = table.semantic_names.index("road"), table.semantic_names.index("car")
    ground_truths = [read_label(record["sem_seg_file_name"]) for record in records]
    for record, ground_truth in zip(records, ground_truths):
        labels = np.where(ground_truth == car, road, ground_truth).astype(np.int64)
        labels[ground_truth == table.ignore_label] = road  # does not count
        evaluator.process([{"image_id": record["image_id"]}], [{"sem_seg_labels": torch.from_numpy(labels)}])
    evaluator.evaluate()

    matrix, names = read_confusion(tmp_path / "sem_seg.npz", table.semantic_names)
    assert names == list(table.semantic_names)
    # Every pixel is called what it is, but each car is called road: in the row of the ground truth.
    expected = np.diag(
        np.bincount(np.concatenate([ground_truth[ground_truth < 19] for ground_truth in ground_truths]), minlength=19)
    )
    expected[car, road], expected[car, car] = expected[car, car], 0
    assert expected[car, road] > 0
    assert matrix.tolist() == expected.tolist()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("matrix", [COUNTS, COUNTS.astype(np.uint16), COUNTS / COUNTS.sum(1, keepdims=True)])
@pytest.mark.parametrize("class_names", [(), NAMES, tuple(NAMES)])
def test_reads_counts_or_shares(path: Path, save, matrix: np.ndarray, class_names):
    save(path, confusion=matrix, class_names=np.array(NAMES))
    read, names = read_confusion(str(path), class_names)
    assert read.dtype == matrix.dtype and np.array_equal(read, matrix)
    assert names == NAMES and all(type(name) is str for name in names)


def test_nan_rows_are_read_as_they_are(path: Path):
    matrix = np.where(np.eye(3)[:, :1] == 1, np.nan, COUNTS)
    np.savez(path, confusion=matrix, class_names=NAMES)
    np.testing.assert_array_equal(read_confusion(path)[0], matrix)


class TestRefuses:
    def test_no_file(self, path: Path):
        assert refused(path).startswith("there is no such file; an evaluation writes it")

    def test_a_folder(self, path: Path):
        path.mkdir()
        assert refused(path).startswith("there is no such file")

    @pytest.mark.parametrize("content", [b"", b"road 5 1 0\n", b"PK\x03\x04", b"\x93NUMPY"])
    def test_another_kind_of_file(self, path: Path, content: bytes):
        path.write_bytes(content)
        assert refused(path).startswith("no .npz file with confusion and class_names")

    def test_an_array_alone(self, path: Path):
        with path.open("wb") as file:
            np.save(file, COUNTS)
        assert refused(path).startswith("no .npz file with confusion and class_names")

    def test_a_pickle_which_is_not_run(self, path: Path, tmp_path: Path):
        program = MakesFolder(str(tmp_path / "made"))
        path.write_bytes(pickle.dumps(program))
        assert refused(path).startswith("no .npz file")
        np.savez(path, confusion=np.array([[program]], dtype=object), class_names=["road"])
        assert "allow_pickle" in refused(path)
        np.savez(path, confusion=COUNTS, class_names=np.array([program] * 3, dtype=object))
        assert "allow_pickle" in refused(path)
        assert not (tmp_path / "made").exists()
        # It is a program: this reads what was refused.
        with np.load(path, allow_pickle=True) as file:
            file["class_names"]
        assert (tmp_path / "made").exists()

    @pytest.mark.parametrize("missing", ["confusion", "class_names"])
    def test_a_missing_array(self, path: Path, missing: str):
        arrays = {"confusion": COUNTS, "class_names": np.array(NAMES), "per_image": COUNTS}
        del arrays[missing]
        np.savez(path, **arrays)
        assert f"{missing} is not a file in the archive" in refused(path)

    @pytest.mark.parametrize(
        "matrix", [COUNTS[:2], COUNTS[0], np.array(5), np.zeros((3, 3, 1), dtype=int), np.zeros((4, 4)), COUNTS[:2, :2]]
    )
    def test_another_shape(self, path: Path, matrix: np.ndarray):
        np.savez(path, confusion=matrix, class_names=NAMES)
        fault = refused(path)
        assert "a row and a column for each of its 3 classes" in fault and f"of the shape {matrix.shape}" in fault

    @pytest.mark.parametrize("kind", [str, bool, complex, "datetime64[s]"])
    def test_a_matrix_of_no_numbers(self, path: Path, kind):
        np.savez(path, confusion=COUNTS.astype(kind), class_names=NAMES)
        assert refused(path).startswith("confusion must hold numbers")

    def test_one_name(self, path: Path):
        np.savez(path, confusion=COUNTS, class_names="road")
        assert refused(path).startswith("no .npz file with confusion and class_names")

    @pytest.mark.parametrize(
        ("expected", "difference"),
        [
            (["road", "bus", "tram"], "number 1 is 'car' there and 'bus' in the data set"),
            (["car", "road", "sky"], "number 0 is 'road' there and 'car' in the data set"),
            (["road", "car"], "it has 3, the data set 2"),
            ([*NAMES, "bus"], "it has 3, the data set 4"),
        ],
    )
    def test_other_classes(self, path: Path, expected: list[str], difference: str):
        np.savez(path, confusion=COUNTS, class_names=NAMES)
        assert refused(path, expected) == f"its classes are not those of the data set: {difference}"


class TestDamage:
    """A file that was cut off or has a wrong byte is read as it was, or refused in one way."""

    @pytest.fixture(scope="class")
    def whole(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        path = tmp_path_factory.mktemp("whole") / "sem_seg.npz"
        # As an evaluation does it.
        np.savez_compressed(path, confusion=COUNTS, per_image=np.arange(90).reshape(10, 3, 3), class_names=NAMES)
        return path

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
    def test_cut_off(self, whole: Path, path: Path, share: float):
        content = whole.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        assert refused(path).startswith("no .npz file with confusion and class_names")

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(position=st.floats(0, 1, exclude_max=True), flipped=st.integers(1, 255))
    def test_a_wrong_byte(self, whole: Path, path: Path, position: float, flipped: int):
        content = bytearray(whole.read_bytes())
        content[int(position * len(content))] ^= flipped
        path.write_bytes(content)
        try:
            matrix, names = read_confusion(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
        else:
            assert names == NAMES and matrix.tolist() == COUNTS.tolist()


class MakesFolder:
    """Unpickling it makes a folder."""

    def __init__(self, folder: str):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)
