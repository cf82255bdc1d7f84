"""Files written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

MAX_SEGMENT_ID = 2**24 - 1  # what an RGB pixel holds


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a name, .<name>.tmp, to write to; the file is renamed to `path` in the end, or removed after an error.

    A reader meanwhile finds the older file. What an interrupted run left under such a name is overwritten by the next.

    Args:
        path: its folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_png(path: Path, ids: np.ndarray) -> None:
    """Write a map of ids as a PNG.

    Args:
        path: its folder is made if need be.
        ids: (H, W); uint8 as a gray PNG, other integers, 0 to MAX_SEGMENT_ID, as a COCO panoptic PNG: R + 256 G +
            65536 B.

    Raises:
        ValueError: an id that three bytes can't hold.
    """
    if ids.dtype != np.uint8:
        if ids.min() < 0 or ids.max() > MAX_SEGMENT_ID:
            raise ValueError(f"{path}: segment ids must be 0 .. {MAX_SEGMENT_ID}, got {ids.min()} .. {ids.max()}")
        four_bytes = np.ascontiguousarray(ids, dtype="<u4").view(np.uint8).reshape(*ids.shape, 4)
        ids = np.ascontiguousarray(four_bytes[..., :3])
    with replacing(path) as temporary:
        # Maps of ids are flat areas: the strongest compression takes several times as long and gains little.
        Image.fromarray(ids).save(temporary, format="PNG", compress_level=1)
