"""Hostile and damaged files of every kind that the library reads, each read in a process that is watched."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from PIL import Image

from campaigns import hostile_configs, hostile_data, hostile_weights  # noqa: F401  (registration)
from campaigns.campaign import Campaign
from campaigns.hostile import PAYLOADS
from campaigns.watched_process import WatchedProcess


class Payloads(Campaign):
    """Each try: one hostile or damaged file, or a few that belong together."""

    name: ClassVar[str] = "payloads"
    claim: ClassVar[str] = (
        "a hostile or damaged file starts no process, opens nothing outside of its folder, needs less than 2 GB and "
        "10 s, and ends in no traceback"
    )
    default: ClassVar[int] = 2000

    @contextmanager
    def prepared(self, folder: Path) -> Iterator[None]:
        self.process = WatchedProcess("campaigns.payload_readers")
        try:
            yield
        finally:
            self.process.stop()

    def attempt(self, seed: int, folder: Path) -> tuple[str, str | None]:
        kind = list(PAYLOADS)[seed % len(PAYLOADS)]
        inside, outside = folder / "inside", folder / "outside"
        inside.mkdir()
        outside.mkdir()
        Image.new("RGB", (8, 8)).save(outside / "secret.png")
        (outside / "secret.yaml").write_text("SEED: 1")
        function, argument = PAYLOADS[kind](random.Random(seed), inside, outside)
        return kind, self.process.call(function, inside, outside, argument)
