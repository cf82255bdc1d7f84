"""The image files that a program predicts, and the files of their pictures."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from unified_seg_runtime.images import ImageError, read_image


def read_images(files: Sequence[str | Path], folder: str | Path = ".") -> Iterator[tuple[np.ndarray, Path]]:
    """Yield each image, (H, W, 3) uint8 RGB, with the file of its picture; leave out what can't be read.

    Args:
        files: of the images.
        folder: of the pictures.

    Raises:
        ImageError: two images would have the same picture; before the first one is read.
        SystemExit: after the last image, if some were left out; stderr has the reasons.
    """
    targets = name_pictures(files, folder)
    failed = 0
    for file, target in zip(files, targets):
        try:
            image = read_image(file)
        except ImageError as error:
            print(f"left out: {error}", file=sys.stderr)
            failed += 1
            continue
        yield image, target
    if failed:
        sys.exit(f"{failed} of {len(files)} images were left out")


def name_pictures(files: Sequence[str | Path], folder: str | Path) -> list[Path]:
    """Return the file of the picture of each image, with the same name; raises ImageError as `read_images`."""
    file_of: dict[str, str | Path] = {}
    for file in files:
        name = Path(file).stem
        if name in file_of:
            raise ImageError(f"{file_of[name]} and {file} would have the same picture; predict them one by one")
        file_of[name] = file
    return [Path(folder, f"{name}_prediction.png") for name in file_of]
