"""Writing while the disk takes no more bytes: the system's limit of the size of a file stands for a full disk."""

import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from campaigns.campaign import Campaign
from unified_seg.checkpoint import write_checkpoint
from unified_seg.data.io.label_files import write_png
from unified_seg.data.io.text_files import write_json
from unified_seg.errors import UserError
from unified_seg.visualization.canvas import write_picture
from unified_seg_cli.tool import describe_system_error
from unified_seg_files import write_text


def _noise(draw: random.Random, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(draw.randrange(1 << 30)).integers(0, 256, shape).astype(np.uint8)


WRITERS: dict[str, tuple[str, Callable[[Path, random.Random], Any]]] = {
    "checkpoint": ("m.pth", lambda file, draw: write_checkpoint(file, {"model": {"weight": torch.rand(100_000)}})),
    "JSON": ("results.json", lambda file, draw: write_json(file, {"scores": [draw.random() for _ in range(20_000)]})),
    "label": ("1.png", lambda file, draw: write_png(file, _noise(draw, (400, 500)))),
    "picture": ("1.jpg", lambda file, draw: write_picture(file, _noise(draw, (400, 500, 3)))),
    "text": ("ranking.csv", lambda file, draw: write_text(file, "a,b\n" * 50_000)),
}


class FullDisk(Campaign):
    """Each try: a file is written again and the disk is full at a random byte of it."""

    name: ClassVar[str] = "full-disk"
    claim: ClassVar[str] = "at a full disk the older file stays whole, nothing is left over, and one line says it"
    default: ClassVar[int] = 500

    def attempt(self, seed: int, folder: Path) -> tuple[str, str | None]:
        draw = random.Random(seed)
        kind = list(WRITERS)[seed % len(WRITERS)]
        name, write = WRITERS[kind]
        file = folder / name
        write(file, draw)
        before = file.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (draw.randrange(min(len(before), 100_000)), limits[1]))
        try:
            write(file, draw)
            failure: str | None = "there was no message"
        except Exception as error:
            is_said = isinstance(error, UserError) or describe_system_error(error) is not None
            failure = None if is_said and "\n" not in str(error) else f"{type(error).__name__}: {error}"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if file.read_bytes() != before:
            failure = "the older file was changed"
        if len(list(folder.iterdir())) != 1:
            failure = "a temporary file is left"
        return kind, failure
