import math
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unified_seg.data.io.label_files import read_label
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.heads.confusion_groups.matrix import compute_rates, normalize_rows, read_confusion
from unified_seg.structures.class_table import ClassTable

NAMES = ["road", "car", "sky"]
COUNTS = np.array([[5, 1, 0], [2, 7, 0], [0, 0, 3]])
WRONG_KIND = "must be an .npz file of an evaluation with confusion and class_names"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sem_seg.npz"


def test_file_of_an_evaluation_is_read(tiny_dataset, tmp_path: Path):
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


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("matrix", [COUNTS, COUNTS.astype(np.uint16), COUNTS / COUNTS.sum(1, keepdims=True)])
@pytest.mark.parametrize("class_names", [(), NAMES, tuple(NAMES)])
def test_counts_and_shares_keep_their_type(path: Path, write, matrix: np.ndarray, class_names):
    write(path, confusion=matrix, class_names=np.array(NAMES))
    read, names = read_confusion(str(path), class_names)
    assert read.dtype == matrix.dtype and np.array_equal(read, matrix)
    assert names == NAMES and all(type(name) is str for name in names)


def test_nan_rows_are_kept(path: Path):
    matrix = np.where(np.eye(3)[:, :1] == 1, np.nan, COUNTS)
    np.savez(path, confusion=matrix, class_names=NAMES)
    np.testing.assert_array_equal(read_confusion(path)[0], matrix)


def write_text(path: Path) -> None:
    path.write_text("road 5 1 0\n")


def write_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, COUNTS)


def save(**arrays: object) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such file; an evaluation writes"),
        (Path.mkdir, "no such file"),
        (Path.touch, WRONG_KIND),
        (write_text, WRONG_KIND),
        (lambda path: path.write_bytes(b"PK\x03\x04"), WRONG_KIND),
        (write_array, WRONG_KIND),
        (save(confusion=COUNTS, per_image=COUNTS), f"{WRONG_KIND}: .*class_names is not a file"),
        (save(class_names=NAMES, per_image=COUNTS), f"{WRONG_KIND}: .*confusion is not a file"),
        (save(confusion=COUNTS, class_names="road"), WRONG_KIND),
        (save(confusion=COUNTS[:2], class_names=NAMES), r"its 3 class_names, got .* of shape \(2, 3\)"),
        (save(confusion=COUNTS[:2, :2], class_names=NAMES), r"its 3 class_names, got .* of shape \(2, 2\)"),
        (save(confusion=np.zeros((3, 3, 1)), class_names=NAMES), r"got .* of shape \(3, 3, 1\)"),
        (save(confusion=np.array(5), class_names=NAMES), r"got .* of shape \(\)"),
        *((save(confusion=COUNTS.astype(kind), class_names=NAMES), "must be numeric") for kind in (str, bool, complex)),
    ],
)
def test_invalid_files_are_refused_by_name(path: Path, write: Callable[[Path], object], message: str):
    write(path)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: .*{message}"):
        read_confusion(path)


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        (["road", "bus", "tram"], "class 1 is 'car' in the file, 'bus' in the data set"),
        (["car", "road", "sky"], "class 0 is 'road' in the file, 'car' in the data set"),
        (["road", "car"], "3 in the file, 2 in the data set"),
        ([*NAMES, "bus"], "3 in the file, 4 in the data set"),
    ],
)
def test_other_classes_are_refused(path: Path, expected: list[str], difference: str):
    np.savez(path, confusion=COUNTS, class_names=NAMES)
    with pytest.raises(ValueError, match=f"sem_seg.npz: .*{difference}"):
        read_confusion(path, expected)


def test_pickles_are_not_run(path: Path, tmp_path: Path):
    program = MakesFolder(str(tmp_path / "made"))
    for write in (
        lambda path: path.write_bytes(pickle.dumps(program)),
        save(confusion=np.array([[program]], dtype=object), class_names=["road"]),
        save(confusion=COUNTS, class_names=np.array([program] * 3, dtype=object)),
    ):
        write(path)
        with pytest.raises(ValueError, match=WRONG_KIND):
            read_confusion(path)
    assert not (tmp_path / "made").exists()
    # The last file runs the program if pickles are allowed.
    with np.load(path, allow_pickle=True) as file:
        file["class_names"]
    assert (tmp_path / "made").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file as an evaluation writes it."""
    path = tmp_path_factory.mktemp("whole") / "sem_seg.npz"
    np.savez_compressed(path, confusion=COUNTS, per_image=np.arange(90).reshape(10, 3, 3), class_names=NAMES)
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(whole: bytes, path: Path, share: float):
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=WRONG_KIND):
        read_confusion(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), flipped=st.integers(1, 255))
def test_files_with_a_wrong_byte_are_refused_or_read_right(whole: bytes, path: Path, position: float, flipped: int):
    content = bytearray(whole)
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


def test_counts_become_shares() -> None:
    weights = normalize_rows(torch.tensor([[6, 2, 0], [1, 1, 2], [0, 0, 5]]))
    assert weights.dtype == torch.float64
    assert weights.tolist() == [[0.75, 0.25, 0], [0.25, 0.25, 0.5], [0, 0, 1]]


def test_shares_are_kept() -> None:
    shares = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    assert torch.equal(normalize_rows(shares), shares.double())


def test_counts_beyond_float32_are_exact() -> None:
    # 2 ** 24 + 1 is the first whole number that float32 doesn't hold.
    weights = normalize_rows(torch.tensor([[2**24 + 1, 2**24 - 1], [0, 1]]))
    assert weights[0].tolist() == [0.5 + 2.0**-25, 0.5 - 2.0**-25]


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [math.nan] * 3])
def test_row_of_an_absent_class_becomes_the_identity(row: list[float]) -> None:
    weights = normalize_rows(torch.tensor([[3.0, 1.0, 0.0], row, [0.0, 1.0, 1.0]]))
    assert weights.tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0, 0.5, 0.5]]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.integers(0, 9999))
def test_rows_sum_to_one_whatever_their_scale(k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 3, (k, k), generator=generator)
    counts[0, 0] += 1  # some pixel
    weights = normalize_rows(counts)
    torch.testing.assert_close(weights.sum(1), torch.ones(k, dtype=torch.float64))
    torch.testing.assert_close(normalize_rows(counts * torch.randint(1, 99, (k, 1), generator=generator)), weights)


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        ([[1.0, 0.0], [math.nan, 1.0]], "row 1 of the confusion matrix: some entries, but not all, are NaN"),
        ([[1.0, -2.0], [0.0, 1.0]], "got -2 at row 0, column 1"),
        ([[1.0, 0.0], [math.inf, 1.0]], "got inf at row 1, column 0"),
        ([[math.nan, math.nan], [-math.inf, 1.0]], "got -inf at row 1, column 0"),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], r"square .* got shape \(2, 3\)"),
        ([[1.0]], r"at least two classes, got shape \(1, 1\)"),
        ([1.0, 2.0], r"got shape \(2,\)"),
        ([[[1.0, 0.0], [0.0, 1.0]]] * 2, r"got shape \(2, 2, 2\)"),
        ([], r"got shape \(0,\)"),
        ([[0.0, 0.0], [math.nan, math.nan]], "holds no pixel"),
        ([[1.0, 0.0], [1e308, 1e308]], "row 1 .* sum is infinite"),
    ],
)
def test_invalid_matrices_are_refused(confusion: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalize_rows(torch.tensor(confusion, dtype=torch.float64))


@pytest.mark.parametrize("row", [0, np.nan])
def test_rates_of_an_absent_class_are_nan(row: float) -> None:
    matrix = np.array([[70, 30, 0], [row, row, row], [0, 0, 10]])
    rates = compute_rates(matrix)
    assert rates[[0, 2]].tolist() == [[0.7, 0.3, 0], [0, 0, 1]] and np.isnan(rates[1]).all()


def test_rates_do_not_change_the_matrix() -> None:
    matrix = np.array([[3.0, 1.0], [0.0, 0.0]])
    compute_rates(matrix)
    assert matrix.tolist() == [[3, 1], [0, 0]]
    # Also of a view with negative strides.
    assert compute_rates(matrix[::-1, ::-1])[1].tolist() == [0.25, 0.75]
