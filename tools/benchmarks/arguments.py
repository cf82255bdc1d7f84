"""Types of command-line arguments, each with an error that says what was expected."""

import re
from argparse import ArgumentTypeError


def size(text: str) -> tuple[int, int]:
    """<height>x<width>."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or 0 in (pair := (int(match[1]), int(match[2]))):
        raise ArgumentTypeError(f"{text!r} is not <height>x<width>, such as 128x256")
    return pair


def device(text: str) -> str:
    """cpu or a CUDA device."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise ArgumentTypeError(f"{text!r} is not cpu, cuda or cuda:<number>")
    return text


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
