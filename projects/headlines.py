#!/usr/bin/env python3
"""Write what each method adds into the README of the repository, from the projects' results.json.

python projects/headlines.py
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

from unified_seg.data.io.text_files import read_json
from unified_seg.reporting.ablation.cells import format_difference, format_mean_and_spread
from unified_seg.reporting.errors import ReportingError
from unified_seg.reporting.readme import replace_table
from unified_seg_cli import run_tool

ROOT = Path(__file__).resolve().parents[1]


class Headline(NamedTuple):
    """A row of a project's ablation that has a baseline.

    Attributes:
        project: the folder below projects/.
        row: its name in ablation.yaml.
        caption: of the row in the README's table.
    """

    project: str
    row: str
    caption: str


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


def render_headlines(root: Path) -> str:
    """Return the table in Markdown.

    Raises:
        DataError: no readable results.json.
        ReportingError: it has no such row, or the row or its baseline was not run.
    """
    lines = []
    for headline in HEADLINES:
        file = root / "projects" / headline.project / "results.json"
        rows: dict[str, Any] = {row["name"]: row for row in read_json(file)["rows"]}
        row = rows.get(headline.row, {})
        if not row.get("difference"):
            raise ReportingError(f"{file}: row {headline.row!r}: not there, or it or its baseline was not run yet")
        lines.append(
            [
                f"[{headline.caption}](projects/{headline.project}/README.md)",
                format_mean_and_spread(rows[row["baseline"]]["miou"]),
                format_mean_and_spread(row["miou"]),
                format_difference(row, "miou"),
                format_difference(row, "pq"),
                str(len(row["seeds"])),
            ]
        )
    headers = ["on Toyscapes", "mIoU without", "mIoU with it", "difference", "in PQ", "seeds"]
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def write_headlines(root: Path) -> None:
    table = render_headlines(root)
    replace_table(root / "README.md", "headlines", table)
    print(table)


def main(root: Path = ROOT) -> None:
    run_tool(partial(write_headlines, root))


if __name__ == "__main__":
    main()
