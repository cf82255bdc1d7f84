from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unified_seg.data.datasets.small.cropweed import IMAGES
from unified_seg.data.io.label_files import read_panoptic_ids

SOIL, CROP, WEED = 1000, 2000, 3000


def test_the_official_numbers() -> None:
    # train_test_split.yaml of the data set; image 028 is in both.
    assert IMAGES == {"train": 40, "test": 21}


def test_plants_have_the_classes_of_the_colors_and_the_numbers_of_the_polygons(prepared: Callable[..., Any]) -> None:
    data = prepared("cropweed")
    data.run()
    ids = read_panoptic_ids(data.root / "train_panoptic/002.png")
    # At half size: the crop is 5x5 and 5x3, one plant; the weeds are rows 15 to 24, columns 20 to 39. The polygon of
    # the first one reaches column 29, that of the second column 38, whose plant is the nearest to column 39.
    expected = np.full((32, 48), SOIL)
    expected[5:10, 5:10] = expected[5:10, 12:15] = CROP
    expected[15:25, 20:30], expected[15:25, 30:40] = WEED + 1, WEED + 2
    assert np.array_equal(ids, expected)


def test_images_have_half_the_size(prepared: Callable[..., Any]) -> None:
    data = prepared("cropweed")
    data.run()
    image = np.asarray(Image.open(data.root / "test/001.png"))
    assert image.shape == (32, 48, 3)
    assert image[7, 7].tolist() == [20, 19, 20] and image[0, 0].tolist() == [20, 20, 20]


def test_color_without_a_polygon_is_void(prepared: Callable[..., Any]) -> None:
    data = prepared("cropweed")
    data.run()
    annotation = data.root / "annotations/001_annotation.yaml"
    annotation.write_text("annotation:\n- type: weed\n  points: {x: [40, 80, 80, 40], y: [30, 30, 50, 50]}\n")
    ids = data.module.merge_plants(annotation.with_suffix(".png"), annotation)
    assert np.unique(ids[5:10, 5:15]).tolist() == [0, SOIL] and (ids[15:25, 20:40] == WEED).all()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train_test_split.yaml", b"train: [1]\n", r"train_test_split\.yaml: expected .* train and test"),
        ("train_test_split.yaml", None, r"train_test_split\.yaml: there is no such file; put dataset-master\.zip"),
        ("annotations/002_annotation.yaml", b"annotation: 5\n", r"002_annotation\.yaml: not polygons"),
        (
            "annotations/002_annotation.yaml",
            b"annotation:\n- {type: crop, points: {x: [1, 2], y: [1]}}\n",
            r"not polygons",
        ),
        *(
            (
                "annotations/002_annotation.yaml",
                f"annotation:\n- {{type: {kind}, points: {{x: {x}, y: {x}}}}}\n".encode(),
                text,
            )
            for kind, x, text in (
                ("krop", "[1, 2]", r"002_annotation\.yaml: .*expected the types soil, crop, weed, got 'krop'"),
                ("crop", "[a, b]", r"002_annotation\.yaml: not polygons"),
                ("crop", "[null, 1]", r"002_annotation\.yaml: not polygons"),
                ("crop", "[]", r"expected lists of coordinates"),
                ("crop", "[.nan, 1]", r"expected lists of coordinates"),
                ("crop", "[1.0e+30, 1]", r"expected lists of coordinates"),
                ("crop", "[[1], [2]]", r"expected lists of coordinates"),
                ("crop", "{a: 1}", r"002_annotation\.yaml: not polygons"),
            )
        ),
        ("images/001_image.png", None, r"001_image\.png: there is no such file"),
        ("annotations/002_annotation.png", (1, 2, 3), r"002_annotation\.png: colors must be"),
    ],
)
def test_wrong_files_are_named(file: str, content: Any, message: str, prepared: Callable[..., Any]) -> None:
    data = prepared("cropweed")
    data.run()
    (data.root / "dataset-master.zip").unlink()
    (data.root / "train_panoptic/002.png").unlink()
    if isinstance(content, bytes):
        (data.root / file).write_bytes(content)
    elif content is None:
        (data.root / file).unlink()
    else:
        Image.new("RGB", (96, 64), content).save(data.root / file)
    with pytest.raises(SystemExit, match=message):
        data.run()
