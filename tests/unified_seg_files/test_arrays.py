import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from unified_seg_files import read_arrays


def test_arrays_are_read_by_name(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.eye(3), names=np.array(["a", "ü"]), empty=np.zeros((0, 2)))
    names, x, empty = read_arrays(tmp_path / "a.npz", ["names", "x", "empty"])
    assert names.tolist() == ["a", "ü"] and np.array_equal(x, np.eye(3)) and empty.shape == (0, 2)


def test_objects_bombs_and_claims_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="object"):
        read_arrays(path, ["x"])
    np.savez_compressed(path, x=np.zeros(1_000_000))
    with pytest.raises(ValueError, match="limit"):
        read_arrays(path, ["x"], max_bytes=1_000_000)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 62, 1 << 62)})
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", header.getvalue())
    with pytest.raises(ValueError, match="less is stored"):
        read_arrays(path, ["x"])


def test_other_files_are_value_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.eye(2))
    with pytest.raises(ValueError):
        read_arrays(path, ["y"])
    for content in (b"", b"PK\x03\x04", path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(ValueError):
            read_arrays(path, ["x"])
