"""Several processes write and read files of one name; nobody may see half a file, or write through a link."""

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from campaigns.campaign import Campaign
from unified_seg_files import write_atomically, write_bytes

WRITERS = 3
SECONDS = 0.25
NAMES = ("results.json", "last_checkpoint", "model_best.pth", "1_pred.png")
# Names of temporary files that can be guessed, with the name of the file.
GUESSED = ("{}.tmp", ".{}.tmp", "{}.part", "{}.partial", ".{}.swp", "{}~")


class Concurrency(Campaign):
    """Each try: three writers and a reader of one name for a quarter of a second, and links at names to be guessed."""

    name: ClassVar[str] = "concurrency"
    claim: ClassVar[str] = "no reader sees half a file and no link is followed, with three processes that write"
    default: ClassVar[int] = 200

    @contextmanager
    def prepared(self, folder: Path) -> Iterator[None]:
        with multiprocessing.get_context("spawn").Pool(WRITERS) as self.pool:
            yield

    def attempt(self, seed: int, folder: Path) -> tuple[str, str | None]:
        draw = random.Random(seed)
        path, victim = folder / draw.choice(NAMES), folder / "victim"
        size = draw.choice([1, 1000, 100_000, 1_000_000])
        victim.write_bytes(b"precious")
        for pattern in GUESSED:
            (folder / pattern.format(path.name)).symlink_to(victim)
        kind = draw.choice(["plain", "link", "killed"])
        if kind == "link":
            path.symlink_to(victim)
        else:
            write_bytes(path, bytes([0]) * size)
        until = time.monotonic() + SECONDS
        jobs = [self.pool.apply_async(_write, (path, number, size, SECONDS)) for number in range(1, WRITERS + 1)]
        failure = None
        while time.monotonic() < until and failure is None:
            failure = _check(path, victim, size)
            if kind == "killed":
                _write_half(path)
        for job in jobs:
            job.get()
        return kind, failure or _check(path, victim, size) or _check_leftovers(folder)


def _write(path: Path, number: int, size: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        write_bytes(path, bytes([number]) * size)


def _write_half(path: Path) -> None:
    """Begin to write a file and stop, as a killed process does; the file itself must not change."""
    try:
        with write_atomically(path) as temporary:
            temporary.write_bytes(b"half")
            raise InterruptedError
    except InterruptedError:
        pass


def _check(path: Path, victim: Path, size: int) -> str | None:
    content = path.read_bytes()
    if victim.read_bytes() != b"precious":
        return "a link was followed"
    if content != b"precious" and (len(content) != size or len(set(content)) != 1):
        return f"a reader saw {len(content)} bytes of {len(set(content))} writers, expected {size} of one"
    return None


def _check_leftovers(folder: Path) -> str | None:
    left: list[Any] = [file.name for file in folder.iterdir() if not file.is_symlink() and file.name.endswith(".tmp")]
    return f"{len(left)} temporary files are left, such as {left[0]}" if left else None
