from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unified_seg.data.io.label_files import read_label
from unified_seg.data.preparation.labels import Label, select_available, write_labels
from unified_seg.data.problems import DataError


def plus(summand: int, file: Path) -> np.ndarray:
    return read_label(file) + np.uint8(summand)


@pytest.fixture
def labels(tmp_path: Path) -> list[Label]:
    made = []
    for name in "abc":
        Image.new("RGB", (3, 2)).save(tmp_path / f"{name}.jpg")
        Image.new("L", (3, 2), ord(name)).save(tmp_path / f"{name}.png")
        made.append(Label(tmp_path / f"{name}.jpg", (tmp_path / f"{name}.png",), tmp_path / "out" / f"{name}.png"))
    return made


def test_missing_labels_are_written(labels: list[Label]) -> None:
    assert write_labels(labels, partial(plus, 1), 1, "labels") == 3
    assert [read_label(label.output)[0, 0] for label in labels] == [98, 99, 100]
    labels[1].output.unlink()
    kept = labels[0].output.stat().st_mtime_ns
    assert write_labels(labels, partial(plus, 2), 1, "labels") == 1
    assert labels[0].output.stat().st_mtime_ns == kept
    assert [read_label(label.output)[0, 0] for label in labels] == [98, 100, 100]


def test_a_label_of_another_size_is_named(labels: list[Label]) -> None:
    Image.new("L", (2, 3)).save(labels[1].sources[0])
    with pytest.raises(DataError, match=r"b\.png: 3x2 pixels, its image has 2x3"):
        write_labels(labels, read_label, 1, "labels")


def test_labels_with_image_and_sources_are_available(labels: list[Label]) -> None:
    labels[0].image.unlink()
    labels[1].sources[0].unlink()
    assert select_available(labels) == labels[2:]
