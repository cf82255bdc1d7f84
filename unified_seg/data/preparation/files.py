"""The files that a preparation writes, each whole or not at all."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unified_seg.data.replacing import replacing


def write_png(path: Path, ids: np.ndarray) -> None:
    """Write a map of ids as a PNG.

    Args:
        path: its folder is made if need be.
        ids: (H, W); uint8 as a grey PNG, wider integers below 2**24 as a COCO panoptic PNG: R + 256 G + 65536 B.
    """
    if ids.dtype != np.uint8:
        ids = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)
    with replacing(path) as temporary:
        Image.fromarray(ids).save(temporary, format="PNG")


def write_names(path: Path, names: Sequence[str]) -> int:
    """Write the list of a split, one name a line, unless the file has just these.

    Returns:
        How many files were written: 0 or 1.
    """
    text = "".join(f"{name}\n" for name in names)
    if path.is_file() and path.read_bytes() == text.encode():
        return 0
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return 1


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file another name: by a hard link or, on file systems without, a copy."""
    with replacing(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
