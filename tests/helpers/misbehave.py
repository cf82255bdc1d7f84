"""What a reader of hostile files must not do, for the tests of the process that watches it; without PyTorch."""

import os
from pathlib import Path


def open_outside(folder: Path, path: str) -> None:
    open(path).close()


def start_process(folder: Path, path: str) -> None:
    os.system("true")


def raise_bug(folder: Path, path: str) -> None:
    raise KeyError(path)


def end_process(folder: Path, path: str) -> None:
    os._exit(3)


def take_memory(folder: Path, path: str) -> None:
    bytearray(4 << 30)


def behave(folder: Path, path: str) -> None:
    (folder / "own").write_text("x")
