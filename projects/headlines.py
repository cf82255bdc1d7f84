#!/usr/bin/env python3
"""Put what each method adds into the README of the repository, from the projects' results.json.

python projects/headlines.py
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

from unified_seg.data.io.text_files import read_json
from unified_seg.data.problems import DataError
from unified_seg.reporting.ablation.table import difference, mean_and_spread
from unified_seg.reporting.readme import put_into

ROOT = Path(__file__).resolve().parents[1]


class Headline(NamedTuple):
    """A row of a project's ablation, which is compared with its baseline."""

    project: str
    row: str
    words: str


HEADLINES = (
    Headline("fusion_scheme", "+ ASP and RP", "ASP + refinement head, for two convolutions a level"),
    Headline("fusion_scheme", "+ semantic-guided fusion", "semantic-guided fusion, for the merge by scores"),
    Headline("pspnet", "FPN + auxiliary loss + PSP", "pyramid pooling"),
    Headline("specialize_and_fuse", "Pyramidal, no context", "pyramidal output, for a single one"),
    Headline("error_correction", "ASP + RP, corrected", "correction of predicted errors"),
    Headline("error_correction", "ASP + RP, corrected, without a norm", "the same, without GroupNorm in its branches"),
    Headline("confusion_groups", "Cross-entropy, subnets", "subnets for confused classes"),
    Headline("confusion_groups", "New loss", "confusion-weighted loss, for cross-entropy"),
)


def table(root: Path) -> str:
    """Markdown.

    Raises:
        DataError: no results.json that can be read.
        ValueError: it has no such row, or none that was run and has a baseline.
    """
    lines = []
    for headline in HEADLINES:
        file = root / "projects" / headline.project / "results.json"
        rows: dict[str, Any] = {row["name"]: row for row in read_json(file)["rows"]}
        row = rows.get(headline.row, {})
        if not row.get("difference"):
            raise ValueError(f"{file}: no row {headline.row!r} that was run and has a baseline that was")
        lines.append(
            [
                f"[{headline.words}](projects/{headline.project}/README.md)",
                mean_and_spread(rows[row["baseline"]]["miou"]),
                mean_and_spread(row["miou"]),
                difference(row, "miou"),
                difference(row, "pq"),
                str(len(row["seeds"])),
            ]
        )
    headers = ["on Toyscapes", "mIoU without", "mIoU with it", "difference", "in PQ", "seeds"]
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def main(root: Path = ROOT) -> None:
    try:
        text = table(root)
        put_into(root / "README.md", text, "headlines")
    except (DataError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(text)


if __name__ == "__main__":
    main()
