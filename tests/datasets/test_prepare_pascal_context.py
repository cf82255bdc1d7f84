from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from unified_seg.data.datasets.pascal_context import CLASS_NAMES, IMAGES
from unified_seg.data.io.label_files import read_label


def test_the_official_numbers() -> None:
    # Mottaghi et al., CVPR 2014, section 3: 10,103 images, the train and val of VOC 2010.
    assert IMAGES == {"train": 4998, "val": 5105} and sum(IMAGES.values()) == 10103


def test_the_files(prepared: Callable[..., Any]) -> None:
    data = prepared("pascal_context")
    data.run()
    lists = data.root / "ImageSets/SegmentationContext"
    assert (lists / "train.txt").read_text() == "2008_000003\n2008_000008\n"
    assert (lists / "val.txt").read_text() == "2008_000002\n"
    labels = read_label(data.root / "SegmentationClassContext/2008_000003.png")
    # 458 wood is the last class, 284 person the 37th; 3 is none of the 59, 0 unlabeled: both are background.
    assert [labels[pixel] for pixel in ((0, 50), (30, 30), (60, 50), (60, 0))] == [59, 37, 0, 0]


def test_classes_are_found_by_name(prepared: Callable[..., Any], tmp_path: Path) -> None:
    module = prepared("pascal_context").module
    file = tmp_path / "labels.txt"
    file.write_text("".join(f"{number}: {name}\n" for number, name in enumerate(reversed(CLASS_NAMES.split()), 101)))
    ids = module.read_class_ids(file)
    assert ids.shape == (460,) and ids[101] == 59 and ids[159] == 1 and np.count_nonzero(ids) == 59


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file; .*labels.txt of Pascal-Context"),
        (b"", "the classes aeroplane, bag, .*wood are missing"),
        (b"x: aeroplane\n", "expected lines"),
        (b"460: aeroplane\n", "expected lines"),
        (b"\xff\xfe", "expected lines"),
    ],
)
def test_a_wrong_list_of_classes_is_named(content: bytes | None, message: str, prepared: Callable[..., Any]) -> None:
    data = prepared("pascal_context")
    file = data.root / "labels.txt"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(SystemExit, match=rf"^\w*Error: {file}: {message}"):
        data.run()


def test_an_id_beyond_the_459_is_named(prepared: Callable[..., Any]) -> None:
    data = prepared("pascal_context")
    data.run()
    (data.root / "trainval.tar.gz").unlink()
    (data.root / "SegmentationClassContext/2008_000002.png").unlink()
    file = data.root / "trainval/2008_000002.mat"
    scipy.io.savemat(file, {"LabelMap": np.full((64, 96), 460, np.uint16)})
    with pytest.raises(SystemExit, match=rf"{file}: label ids .* got 460 \.\. 460"):
        data.run()


def test_the_lists_are_those_of_voc(prepared: Callable[..., Any]) -> None:
    """An image of VOC's list without a label is not passed over."""
    data = prepared("pascal_context")
    data.run()
    (data.root / "trainval.tar.gz").unlink()
    (data.root / "trainval/2008_000008.mat").unlink()
    with pytest.raises(SystemExit, match="train images with labels: 1 of 2"):
        data.run()
