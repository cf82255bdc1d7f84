"""Reading the frames of a video."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from unified_seg.errors import UserError
from unified_seg_files import open_regular

# How the files of video containers start, at which byte. Playlists (HLS, concat, SDP) are text.
VIDEO_SIGNATURES = (
    (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"), (4, b"skip"),
    (0, b"RIFF"), (0, b"\x1a\x45\xdf\xa3"), (0, b"\0\0\x01"), (0, b"FLV"), (0, b"OggS"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), (0, b"GIF8"), (0, b"DKIF"), (0, b"YUV4MPEG2"),
)  # fmt: skip

# MPEG transport streams are packets of so many bytes, each of which starts with a sign.
TS_PACKET, TS_SIGN = 188, b"\x47"


def open_video(video: Path) -> cv2.VideoCapture:
    """Open a video; the caller releases it.

    Raises:
        UserError: not a video of a known container, or OpenCV can't read it.
    """
    check_video(video)
    reader = cv2.VideoCapture(str(video))
    if not reader.isOpened():
        reader.release()
        raise UserError(f"--video-input {video}: OpenCV can't read it")
    return reader


def read_frames(video: Path) -> Iterator[np.ndarray]:
    """Yield the frames of a video, (H, W, 3) uint8 BGR; raises UserError, see `open_video`."""
    reader = open_video(video)
    try:
        yield from iterate_frames(reader)
    finally:
        reader.release()


def iterate_frames(reader: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """Yield the frames of an open video, (H, W, 3) uint8 BGR."""
    while True:
        more, frame = reader.read()
        if not more:
            return
        yield frame


def check_video(video: Path) -> None:
    """Check that a file is a video by how it starts: a playlist would let OpenCV open other files and URLs.

    Raises:
        UserError: it is not, or it can't be read.
    """
    try:
        with open_regular(video) as file:
            start = file.read(TS_PACKET + 1)
    except OSError as error:
        raise UserError(f"--video-input {video}: {error.strerror}") from None
    is_stream = start[:1] == start[TS_PACKET:] == TS_SIGN
    if not is_stream and not any(start[at : at + len(sign)] == sign for at, sign in VIDEO_SIGNATURES):
        known = "MP4, MOV, AVI, MKV, WebM, MPEG, FLV, WMV, Ogg"
        raise UserError(f"--video-input {video}: not a video of a known container ({known})")
