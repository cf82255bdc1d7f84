import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from unified_seg.data.preparation.matlab import read_mat, read_mat73
from unified_seg.data.problems import DataError

IDS = np.array([[0, 1, 2], [3, 4, 459]])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float64])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_variable_is_read(dtype: Any, compressed: bool, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"LabelMap": IDS.astype(dtype), "x": 1}, do_compression=compressed)
    found = read_mat(tmp_path / "a.mat", "LabelMap")
    assert found.dtype == np.int32 and np.array_equal(found, IDS)


def test_a_field_of_a_structure_is_read(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"GTcls": {"Segmentation": IDS.astype(np.uint8), "Boundaries": np.eye(2)}})
    assert np.array_equal(read_mat(tmp_path / "a.mat", "GTcls", "Segmentation"), IDS.astype(np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_version_7_3_has_columns_first(dtype: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["S"] = IDS.T.astype(dtype)
    assert np.array_equal(read_mat73(tmp_path / "a.mat", "S"), IDS.astype(dtype))


@pytest.mark.parametrize("read", [read_mat, read_mat73])
def test_a_missing_file_is_named(read: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.mat: there is no such file"):
        read(tmp_path / "a.mat", "S")


@pytest.mark.parametrize("size", [0, 64, 130, 200])
def test_a_truncated_file_is_named(size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"S": np.arange(4096).reshape(64, 64)}, do_compression=True)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"a\.mat: (not a readable MATLAB file|no label map S)"):
        read_mat(path, "S")


@pytest.mark.parametrize("size", [0, 600, 2000])
def test_a_truncated_file_of_version_7_3_is_named(size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["S"] = np.zeros((64, 64))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"a\.mat: not a readable MATLAB file of version 7\.3"):
        read_mat73(path, "S")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"T": IDS}, "no label map S in it"),
        ({"S": np.zeros((2, 2, 3))}, r"expected a label map \(height, width\), got float64 of \(2, 2, 3\)"),
        ({"S": "text"}, "expected a label map"),
        ({"S": np.array([[0.5, 1.0]])}, "a label map must have whole numbers"),
        ({"S": np.array([[np.nan, 1.0]])}, "a label map must have whole numbers"),
        ({"S": np.zeros((0, 0))}, "expected a label map"),
    ],
)
def test_arrays_that_are_no_label_maps_are_refused(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", content)
    with pytest.raises(DataError, match=rf"a\.mat: {message}"):
        read_mat(tmp_path / "a.mat", "S")


def test_a_structure_without_the_field_is_named(tmp_path: Path) -> None:
    for content in ({"GTcls": {"Boundaries": np.eye(2)}}, {"GTcls": np.eye(2)}):
        scipy.io.savemat(tmp_path / "a.mat", content)
        with pytest.raises(DataError, match=r"a\.mat: no label map GTcls\.Segmentation in it"):
            read_mat(tmp_path / "a.mat", "GTcls", "Segmentation")


def test_links_to_other_files_are_refused(tmp_path: Path) -> None:
    """HDF5 can say that a map is in another file, by a link, as raw data, or as a part of a virtual map."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["S"] = np.ones((2, 2))
    (tmp_path / "raw.bin").write_bytes(bytes(32))
    layout = h5py.VirtualLayout((2, 2), dtype=np.float64)
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "S", (2, 2))
    path = tmp_path / "a.mat"
    for name in ("link", "raw", "virtual", "group"):
        with h5py.File(path, "w") as file:
            if name == "link":
                file["S"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "S")
            elif name == "raw":
                file.create_dataset("S", (2, 2), np.float64, external=[(str(tmp_path / "raw.bin"), 0, 32)])
            elif name == "virtual":
                file.create_virtual_dataset("S", layout)
            else:
                file.create_group("S")
        with pytest.raises(DataError, match=r"a\.mat: (no label map S in it|S must be a data set stored in this file)"):
            read_mat73(path, "S")


def test_missing_h5py_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"a\.mat: MATLAB files of version 7\.3 need h5py"):
        read_mat73(tmp_path / "a.mat", "S")
