from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unified_seg.data.io.reading import read_label, read_panoptic_ids
from unified_seg.data.io.writing import replacing, write_png


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


def test_a_gray_png(tmp_path: Path) -> None:
    ids = np.array([[0, 7], [150, 255]], np.uint8)
    write_png(tmp_path / "a.png", ids)
    assert np.array_equal(read_label(tmp_path / "a.png"), ids)


def test_a_panoptic_png(tmp_path: Path) -> None:
    ids = np.array([[0, 255, 256], [65536, 2**24 - 1, 300]], np.int32)
    write_png(tmp_path / "a.png", ids)
    assert np.array_equal(read_panoptic_ids(tmp_path / "a.png"), ids)
    # R + 256 G + 65536 B: 300 = 44 + 256.
    assert np.asarray(Image.open(tmp_path / "a.png"))[1, 2].tolist() == [44, 1, 0]


@pytest.mark.parametrize("wrong", [-1, 2**24])
def test_an_id_that_no_png_holds(wrong: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.png: segment ids must be 0 \.\. 16777215"):
        write_png(tmp_path / "a.png", np.array([[0, wrong]]))
