"""Types of command-line options. Their errors say what is expected; argparse adds the name of the option."""

import math
import re
from argparse import ArgumentTypeError


def positive_int(text: str) -> int:
    """Read a whole number of at least 1."""
    return _int_from(text, 1)


def non_negative_int(text: str) -> int:
    """Read a whole number of at least 0."""
    return _int_from(text, 0)


def worker_count(text: str) -> int:
    """Read a number of processes; 0 means the same as 1, to work in this process alone."""
    return max(non_negative_int(text), 1)


def fraction(text: str) -> float:
    """Read a number in [0, 1]."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"must be a number in [0, 1], got {text!r}")
    return value


def image_size(text: str) -> tuple[int, int]:
    """Read <height>x<width>."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or 0 in (size := (int(match[1]), int(match[2]))):
        raise ArgumentTypeError(f"must be <height>x<width>, such as 128x256, got {text!r}")
    return size


def device(text: str) -> str:
    """Read cpu or a CUDA device."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise ArgumentTypeError(f"must be cpu, cuda or cuda:<number>, got {text!r}")
    return text


def _int_from(text: str, minimum: int) -> int:
    if not re.fullmatch(r"[+-]?\d+", text) or int(text) < minimum:
        raise ArgumentTypeError(f"must be a whole number of at least {minimum}, got {text!r}")
    return int(text)
