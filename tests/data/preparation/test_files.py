import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unified_seg.data.preparation.files import link_or_copy, replacing, write_names, write_png
from unified_seg.data.reading import read_label, read_panoptic_ids


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert not list(path.parent.iterdir())
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists() and temporary.name == ".a.txt.tmp"
    assert path.read_text() == "whole" and len(list(path.parent.iterdir())) == 1


def test_after_an_error_the_older_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("older")
    with pytest.raises(ValueError), replacing(path):
        raise ValueError
    assert path.read_text() == "older"


def test_a_grey_png(tmp_path: Path) -> None:
    ids = np.array([[0, 7], [150, 255]], np.uint8)
    write_png(tmp_path / "a.png", ids)
    assert np.array_equal(read_label(tmp_path / "a.png"), ids)


def test_a_panoptic_png(tmp_path: Path) -> None:
    ids = np.array([[0, 255, 256], [65536, 2**24 - 1, 300]], np.int32)
    write_png(tmp_path / "a.png", ids)
    assert np.array_equal(read_panoptic_ids(tmp_path / "a.png"), ids)
    # R + 256 G + 65536 B: 300 = 44 + 256.
    assert np.asarray(Image.open(tmp_path / "a.png"))[1, 2].tolist() == [44, 1, 0]


def test_a_list_is_written_if_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "lists" / "train.txt"
    assert write_names(path, ["b", "a"]) == 1
    assert path.read_text() == "b\na\n"
    assert write_names(path, ["b", "a"]) == 0
    assert write_names(path, ["b"]) == 1


def test_a_file_gets_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "a.jpg", tmp_path / "new" / "a.jpg"
    source.write_bytes(b"picture")
    link_or_copy(source, target)
    assert target.samefile(source) and not target.is_symlink()

    def refuse(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refuse)
    target.unlink()
    target.with_name(".a.jpg.tmp").write_bytes(b"half")
    link_or_copy(source, target)
    assert target.read_bytes() == b"picture" and not target.samefile(source)
    assert len(list(target.parent.iterdir())) == 1
