"""Campaigns whose trainings run in forks of one server."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from campaigns.campaign import Campaign
from campaigns.runs.fork_server import ForkServer


class ServedCampaign(Campaign):
    """A campaign with a server of trainings, see `tiny_run.train`."""

    @contextmanager
    def prepared(self, folder: Path) -> Iterator[None]:
        self.server = ForkServer("campaigns.runs.tiny_run", folder / "shared")
        try:
            yield
        finally:
            self.server.stop()

    def train(
        self, log: Path, config: Path, run: Path, overrides: Sequence[str] = (), plan: Mapping[str, Any] | None = None
    ) -> int:
        """Train, or resume the training in the folder `run`, and return the exit status, negative if killed."""
        return self.server.call("train", log, config, run, list(overrides), dict(plan or {}))


def read_end(folder: Path) -> str:
    """Return the last lines of what trainings have printed."""
    text = "".join(file.read_text(errors="replace") for file in sorted(folder.glob("*.txt")))
    return " | ".join(text.splitlines()[-3:])[-600:]
