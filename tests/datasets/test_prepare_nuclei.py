import json
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unified_seg.data.datasets.small.nuclei import IMAGES
from unified_seg.data.io.label_files import read_panoptic_ids


def test_the_number_of_validation_images(prepared: Callable[..., Any]) -> None:
    # 334 images have this size.
    assert IMAGES == {"train": 271, "val": 63}
    names = prepared("nuclei").module.VAL.split()
    assert len(set(names)) == 63 and names == sorted(names) and {len(name) for name in names} == {8}


def test_the_files(prepared: Callable[..., Any]) -> None:
    data = prepared("nuclei")
    data.run()
    # The image of another size is left out.
    assert sorted(p.name for p in data.root.glob("train/*")) == ["0007119800071198.png", "003cee89003cee89.png"]
    assert [p.name for p in data.root.glob("val/*")] == ["07761fa307761fa3.png"]
    image = np.asarray(Image.open(data.root / "val/07761fa307761fa3.png"))
    assert image.shape == (256, 256, 3) and (image == 30).all()
    ids = read_panoptic_ids(data.root / "val_panoptic/07761fa307761fa3.png")
    # Rows 40 to 59, columns 0 to 59, and rows 40 to 79, columns 100 to 119.
    assert {int(i): int((ids == i).sum()) for i in np.unique(ids)} == {1000: 256**2 - 2000, 2000: 1200, 2001: 800}
    (annotation,) = json.loads((data.root / "val_panoptic.json").read_text())["annotations"]
    found = {s["id"]: (s["category_id"], s["bbox"]) for s in annotation["segments_info"]}
    assert found == {1000: (0, [0, 0, 256, 256]), 2000: (1, [0, 40, 60, 20]), 2001: (1, [100, 40, 20, 40])}


def test_archive_of_the_challenge_is_read_too(prepared: Callable[..., Any]) -> None:
    data = prepared("nuclei")
    data.run()
    files = {file: (data.root / file).read_bytes() for file in data.files() if not file.endswith(".zip")}
    (archive,) = data.root.glob("*.zip")
    source = data.root / "stage1_train"
    shutil.make_archive(str(data.root / "stage1_train"), "zip", source)
    archive.unlink()
    for folder in (source, *data.root.glob("train*/"), *data.root.glob("val*/")):
        shutil.rmtree(folder)
    data.run()
    assert {f: (data.root / f).read_bytes() for f in data.files() if not f.endswith(".zip")} == files


def test_image_without_masks_is_an_error(prepared: Callable[..., Any]) -> None:
    data = prepared("nuclei")
    data.run()
    (archive,) = data.root.glob("*.zip")
    archive.unlink()
    for mask in data.root.glob("stage1_train/003cee89*/masks/*"):
        mask.unlink()
    with pytest.raises(SystemExit, match=r"003cee89/masks: no mask"):
        data.run()
