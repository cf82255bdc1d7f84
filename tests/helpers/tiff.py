"""TIFFs of any kind, which neither Pillow nor OpenCV writes."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

KINDS = {"u": 1, "i": 2, "f": 3}


def write_tiff(path: Path, samples: np.ndarray, tags: Mapping[int, int] | None = None) -> Path:
    """Write an uncompressed TIFF.

    Args:
        path: the file.
        samples: (H, W, C), or (H, W); three channels are RGB.
        tags: further ones, by their number, such as 341 for SMaxSampleValue; 16 or 32 bits each.
    """
    samples = samples.reshape(*samples.shape[:2], -1)
    height, width, channels = samples.shape
    values: dict[int, list[int]] = {
        256: [width],
        257: [height],
        258: [8 * samples.dtype.itemsize] * channels,
        259: [1],
        262: [2 if channels == 3 else 1],
        273: [0],  # the offset of the pixels, below
        277: [channels],
        278: [height],
        279: [samples.nbytes],
        339: [KINDS[samples.dtype.kind]] * channels,
        **{tag: [value] for tag, value in (tags or {}).items()},
    }
    heap_start = 8 + 2 + 12 * len(values) + 4
    heap_size = sum(4 * len(v) for v in values.values() if len(v) > 1)
    values[273] = [heap_start + heap_size]
    entries, heap = b"", b""
    for tag, numbers in sorted(values.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            packed, heap = struct.pack("<I", heap_start + len(heap)), heap + packed
        entries += struct.pack("<HHI", tag, 4, len(numbers)) + packed
    head = b"II*\0" + struct.pack("<IH", 8, len(values))
    path.write_bytes(head + entries + b"\0\0\0\0" + heap + samples.tobytes())
    return path
