#!/usr/bin/env python3
"""Write the gain of each method into the README of the repository, from the results.json of the projects.

python projects/headlines.py
"""

from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

from unified_seg.cli import run_tool
from unified_seg.data.io.text_files import read_json
from unified_seg.data.problems import DataError
from unified_seg.reporting.ablation.table import difference, mean_and_spread
from unified_seg.reporting.readme import put_into

ROOT = Path(__file__).resolve().parents[1]


class Headline(NamedTuple):
    """A row of a project's ablation that is compared with its baseline, and the words for it in the table."""

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
    """Format the table as Markdown.

    Raises:
        DataError: a results.json can't be read, or a row is missing, was not run or has no baseline.
    """
    lines = []
    for headline in HEADLINES:
        file = root / "projects" / headline.project / "results.json"
        rows: dict[str, Any] = {row["name"]: row for row in read_json(file)["rows"]}
        row = rows.get(headline.row, {})
        if not row.get("difference"):
            raise DataError(f"{file}: row {headline.row!r} is missing, was not run or has no baseline that was run")
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
    def run() -> None:
        text = table(root)
        put_into(root / "README.md", text, "headlines")
        print(text)

    run_tool(run)


if __name__ == "__main__":
    main()
