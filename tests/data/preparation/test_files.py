import os
from pathlib import Path

import pytest

from unified_seg.data.preparation.files import link_or_copy, write_names


def test_a_list_is_written_if_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "lists" / "train.txt"
    assert write_names(path, ["b", "a"]) == 1
    assert path.read_text() == "b\na\n"
    assert write_names(path, ["b", "a"]) == 0
    assert write_names(path, ["b"]) == 1


def test_a_file_is_linked_or_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "a.jpg", tmp_path / "new" / "a.jpg"
    source.write_bytes(b"picture")
    link_or_copy(source, target)
    assert target.samefile(source) and not target.is_symlink()

    def refuse(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refuse)
    target.unlink()
    link_or_copy(source, target)
    assert target.read_bytes() == b"picture" and not target.samefile(source)
    assert len(list(target.parent.iterdir())) == 1
