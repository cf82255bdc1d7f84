import sys
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from unified_seg.data.datasets.coco_stuff import IMAGES
from unified_seg.data.io.label_files import read_label


def test_the_official_numbers() -> None:
    # Caesar, Uijlings, Ferrari: COCO-Stuff, CVPR 2018, section 5; the read-me of github.com/nightrome/cocostuff10k.
    assert IMAGES == {"train": 9000, "test": 1000}


def test_the_files(prepared: Callable[..., Any]) -> None:
    data = prepared("coco_stuff10k")
    data.run()
    # 2 person and 172 wood, the first and the last class, and 1, unlabeled.
    name = "train/COCO_train2014_000000000077"
    labels = read_label(data.root / f"annotations_detectron2/{name}.png")
    assert [labels[pixel] for pixel in ((0, 50), (60, 50), (30, 0))] == [0, 170, 255]
    assert labels.shape == (64, 96)
    # Images take no place: they are hard links.
    image = data.root / f"images_detectron2/{name}.jpg"
    assert image.samefile(data.root / "images/COCO_train2014_000000000077.jpg") and not image.is_symlink()
    assert len(list(data.root.glob("images_detectron2/test/*"))) == 1


def test_missing_h5py_is_named(prepared: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared("coco_stuff10k")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SystemExit, match=r"COCO_\w+\.mat: .*pip install h5py"):
        data.run()


def test_labels_of_version_1_1_are_refused(prepared: Callable[..., Any]) -> None:
    # They have 0 where there is no label, in MATLAB files of an older kind.
    data = prepared("coco_stuff10k")
    data.run()
    (data.root / "cocostuff-10k-v1.0.zip").unlink()
    name = "COCO_train2014_000000000092"
    (data.root / f"annotations_detectron2/train/{name}.png").unlink()
    file = data.root / f"annotations/{name}.mat"
    scipy.io.savemat(file, {"S": np.ones((64, 96))})
    with pytest.raises(SystemExit, match=rf"{file}: not a readable MATLAB file of version 7\.3"):
        data.run()
    with h5py.File(file, "w") as content:
        content["S"] = np.zeros((96, 64))
    with pytest.raises(SystemExit, match=rf"{file}: label ids of version 1\.0 .* got 0 \.\. 0"):
        data.run()
