from pathlib import Path

import pytest

from unified_seg_runtime import ImageError
from unified_seg_runtime.picture_files import name_pictures


def test_pictures_have_the_names_of_the_images() -> None:
    found = name_pictures([Path("a/x.png"), Path("b.c.jpg")], Path("out"))
    assert found == [Path("out/x_prediction.png"), Path("out/b.c_prediction.png")]


@pytest.mark.parametrize("other", ["b/x.png", "a/x.jpg"])
def test_images_of_one_name_are_refused(other: str) -> None:
    with pytest.raises(ImageError, match=rf"a/x\.png and {other} would have the same picture"):
        name_pictures([Path("a/x.png"), Path(other)], Path())
