from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.io

from unified_seg.data.datasets.voc import IMAGES
from unified_seg.data.io.label_files import read_label


def test_the_official_numbers() -> None:
    # The development kit's documentation, table 2; the augmented list is the DeepLab papers' (Chen et al., ICLR 2015).
    assert IMAGES == {"train": 1464, "trainaug": 10582, "val": 1449}


def test_the_files(prepared: Callable[..., Any]) -> None:
    data = prepared("voc2012")
    data.run()
    # Of SBD's four images and VOC's train, those that are not VOC's val, 2007_000033.
    names = (data.root / "ImageSets/Segmentation/trainaug.txt").read_text().split()
    assert names == ["2007_000032", "2008_000002", "2008_000007"]
    labels = data.root / "SegmentationClassAug"
    assert sorted(file.stem for file in labels.iterdir()) == names
    # The label below is 20 in SBD and 15 in VOC: VOC's is used. The palette is ignored.
    assert np.unique(read_label(labels / "2007_000032.png")).tolist() == [0, 15]
    assert np.unique(read_label(labels / "2008_000002.png")).tolist() == [0, 20]
    # SBD's pictures, which are VOC's, are left out.
    assert not (data.root / "benchmark_RELEASE/dataset/img").exists()


def test_without_sbd_only_trainaug_is_left_out(prepared: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    data = prepared("voc2012")
    (data.root / "benchmark.tgz").unlink()
    data.run()
    assert (data.root / "SegmentationClass/2007_000033.png").is_file()
    assert not (data.root / "SegmentationClassAug").exists()
    assert "unified_voc2012_trainaug is left out" in caplog.text


def test_a_part_of_sbd_gives_a_part_of_trainaug(prepared: Callable[..., Any]) -> None:
    data = prepared("voc2012")
    data.run()
    (data.root / "benchmark.tgz").unlink()
    (data.root / "benchmark_RELEASE/dataset/cls/2008_000007.mat").unlink()
    with pytest.raises(SystemExit, match="trainaug images with labels: 2 of 3"):
        data.run()
    data.run("--allow-subset")
    assert (data.root / "ImageSets/Segmentation/trainaug.txt").read_text() == "2007_000032\n2008_000002\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"MATLAB 5.0 MAT-file", "not a readable MATLAB file"),
        ({"GTcls": {"Boundaries": np.zeros((2, 2))}}, r"no label map GTcls\.Segmentation in it"),
        (
            {"GTcls": {"Segmentation": np.full((64, 96), 21, np.uint8)}},
            r"label ids .* got \[21\]",
        ),
        ({"GTcls": {"Segmentation": np.zeros((96, 64), np.uint8)}}, "96x64 pixels, its image has 64x96"),
    ],
)
def test_a_wrong_label_is_named(content: Any, message: str, prepared: Callable[..., Any]) -> None:
    data = prepared("voc2012")
    data.run()
    (data.root / "benchmark.tgz").unlink()
    (data.root / "SegmentationClassAug/2008_000002.png").unlink()
    file = data.root / "benchmark_RELEASE/dataset/cls/2008_000002.mat"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        scipy.io.savemat(file, content)
    with pytest.raises(SystemExit, match=rf"^\w*Error: {file}: .*{message}"):
        data.run()
