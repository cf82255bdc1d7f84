import os
from pathlib import Path

import pytest

from unified_seg_files import check_regular, open_regular, read_bytes


@pytest.fixture(params=["fifo", "device"])
def special(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "device":
        return Path("/dev/zero")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


@pytest.mark.parametrize("read", [check_regular, open_regular, read_bytes])
def test_only_regular_files_are_opened(read: object, special: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        read(special)  # type: ignore[operator]


def test_links_to_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    check_regular(tmp_path / "link")
    check_regular(tmp_path / "nowhere")
    assert read_bytes(tmp_path / "link", 3) == b"123"


def test_larger_files_folders_and_missing_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1234")
    with pytest.raises(OSError, match="limit of 3 bytes"):
        read_bytes(tmp_path / "a", 3)
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "nowhere")
