"""What a campaign is, and how it is run and reported."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tabulate import tabulate
from tqdm import tqdm

from unified_seg_files import read_bytes, write_text

MAX_REPORT_BYTES = 1 << 20


@dataclass
class Outcome:
    """The tries of a campaign.

    Attributes:
        campaign: its name.
        tried: their number.
        failures: a line for each try that failed, with the seed that repeats it.
        counts: tries by kind.
    """

    campaign: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, failure: str | None, tries: int = 1) -> None:
        """Count tries of a kind; `failure` is what went wrong, None if all held."""
        self.tried += tries
        self.counts[kind] = self.counts.get(kind, 0) + tries
        if failure is not None:
            self.failures.append(f"{kind}: {failure}")


class Campaign(ABC):
    """Many tries of one claim.

    Attributes:
        name: in reports and on the command line.
        claim: what each try checks.
        default: the number of tries.
    """

    name: ClassVar[str]
    claim: ClassVar[str]
    default: ClassVar[int]

    @contextmanager
    def prepared(self, folder: Path) -> Iterator[None]:
        """Set up what all tries share, such as processes, and take it down."""
        yield

    @abstractmethod
    def attempt(self, seed: int, folder: Path) -> tuple[str, str | None]:
        """Make one try.

        Args:
            seed: of all that is random in it.
            folder: an empty folder of its own.

        Returns:
            The kind of the try, and what went wrong, None if the claim held.
        """


def run_campaign(campaign: Campaign, count: int, seed: int, folder: Path) -> Outcome:
    """Make `count` tries, with the seeds from `seed` on, and show the progress."""
    outcome = Outcome(campaign.name)
    with campaign.prepared(folder), tqdm(total=count, desc=campaign.name, unit="try", disable=None) as bar:
        for number in range(seed, seed + count):
            own = folder / f"{campaign.name}_{number}"
            own.mkdir(parents=True)
            kind, failure = campaign.attempt(number, own)
            outcome.add(kind, failure and f"seed {number}: {failure}")
            bar.set_postfix(failed=len(outcome.failures), refresh=False)
            bar.update()
    return outcome


def write_report(path: Path, outcomes: Sequence[Outcome], claims: Mapping[str, str], machine: str) -> None:
    """Write the outcomes as JSON, and beside it as Markdown; campaigns of an earlier report that did not run stay.

    Args:
        path: the JSON: a list of {"campaign", "tried", "failed", "machine"}.
        outcomes: of the campaigns that ran.
        claims: what each campaign checks, by its name.
        machine: that they ran on.
    """
    entries: dict[str, dict[str, Any]] = {each["campaign"]: each for each in _read_report(path)}
    for outcome in outcomes:
        result = {
            "tried": outcome.tried,
            "failed": len(outcome.failures),
            "kinds": dict(sorted(outcome.counts.items())),
        }
        entries[outcome.campaign] = {"campaign": outcome.campaign, **result, "machine": machine}
    ordered = [entries[name] for name in sorted(entries)]
    write_text(path, json.dumps(ordered, indent=1) + "\n")
    rows = [[each["campaign"], claims.get(each["campaign"], ""), each["tried"], each["failed"]] for each in ordered]
    lines = [
        "# Robustness",
        "",
        "What was tried by `python tools/torture.py`, and how often it failed. [SECURITY.md](../SECURITY.md) says what",
        "is promised. The files that a payload opens are those that Python opens; a library in C that opens a file by",
        "itself is only found if the file changes.",
        "",
        tabulate(rows, ["campaign", "each try checks that", "tried", "failed"], tablefmt="github"),
        "",
    ]
    for each in ordered:
        kinds = ", ".join(f"{kind} {count}" for kind, count in each.get("kinds", {}).items())
        lines += [f"- {each['campaign']}: {kinds}. {each.get('machine', '')}.", ""]
    write_text(path.with_suffix(".md"), "\n".join(lines).rstrip("\n") + "\n")


def _read_report(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(read_bytes(path, MAX_REPORT_BYTES))
    except (OSError, ValueError):
        return []
    entries = content if isinstance(content, list) else []
    return [each for each in entries if isinstance(each, dict) and "campaign" in each]
