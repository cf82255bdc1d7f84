#!/usr/bin/env python3
"""Write what each method adds into README.md (photographs) and projects/README.md (Toyscapes).

The numbers are those of results.json in the projects.

python projects/headlines.py
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

from unified_seg.reporting.ablation.results.cells import format_difference, format_mean_and_spread
from unified_seg.reporting.ablation.results.published import RESULTS_FILE, read_published
from unified_seg.reporting.errors import ReportingError
from unified_seg.reporting.readme import replace_table
from unified_seg_cli import ToolParser, run_tool

ROOT = Path(__file__).resolve().parents[1]
MARKERS = "headlines"  # the table in each README
NOT_RUN = "not run yet"


class Headline(NamedTuple):
    """A row of a project's ablation that has a baseline.

    Attributes:
        project: the folder of the ablation below projects/.
        row: its name in ablation.yaml.
        caption: of the row in the README's table.
        data: the data set that it was trained and evaluated on.
    """

    project: str
    row: str
    caption: str
    data: str = "Toyscapes"


PHOTOGRAPHS = (
    Headline(
        "fusion_scheme/cropweed",
        "+ fusion by evidence",
        "fusion by evidence instead of the merge by scores",
        "crop/weed",
    ),
    Headline(
        "fusion_scheme/cropweed",
        "+ semantic-guided fusion",
        "the paper's fusion instead of the merge by scores",
        "crop/weed",
    ),
    Headline(
        "fusion_scheme/nuclei", "+ fusion by evidence", "fusion by evidence instead of the merge by scores", "nuclei"
    ),
    Headline(
        "fusion_scheme/nuclei",
        "+ semantic-guided fusion",
        "the paper's fusion instead of the merge by scores",
        "nuclei",
    ),
    Headline(
        "fusion_scheme/camvid", "+ ASP and RP", "ASP + refinement head instead of two convolutions a level", "CamVid"
    ),
    Headline("pspnet/camvid", "FPN + auxiliary loss + PSP", "pyramid pooling", "CamVid"),
    Headline("specialize_and_fuse/camvid", "Pyramidal, no context", "pyramidal instead of single output", "CamVid"),
    Headline(
        "specialize_and_fuse/camvid",
        "Pyramidal, coarse to fine",
        "the same, both with coarse-to-fine context",
        "CamVid",
    ),
    Headline(
        "error_correction/camvid",
        "Dilated PSP, corrected",
        "correction of predicted errors, on a dilated backbone",
        "CamVid",
    ),
    Headline("error_correction/camvid", "ASP + RP, corrected", "the same, on an FPN", "CamVid"),
    Headline("confusion_groups/camvid", "Cross-entropy, subnets", "subnets for confused classes", "CamVid"),
    Headline(
        "confusion_groups/camvid", "New loss, trained on", "confusion-weighted loss instead of cross-entropy", "CamVid"
    ),
    Headline(
        "best_models/camvid", "+ four scales and flip", "best model: four scales and flip instead of one view", "CamVid"
    ),
)
TOYSCAPES = (
    Headline("fusion_scheme", "+ ASP and RP", "ASP + refinement head instead of two convolutions a level"),
    Headline("fusion_scheme", "+ fusion by evidence", "fusion by evidence instead of the merge by scores"),
    Headline("fusion_scheme", "+ semantic-guided fusion", "the paper's fusion instead of the merge by scores"),
    Headline("pspnet", "FPN + auxiliary loss + PSP", "pyramid pooling"),
    Headline("specialize_and_fuse", "Pyramidal, no context", "pyramidal instead of single output"),
    Headline("error_correction", "ASP + RP, corrected", "correction of predicted errors"),
    Headline("error_correction", "ASP + RP, corrected, without a norm", "the same, without GroupNorm in its branches"),
    Headline("confusion_groups", "Cross-entropy, subnets", "subnets for confused classes"),
    Headline("confusion_groups", "New loss", "confusion-weighted loss instead of cross-entropy"),
)
TABLES = {"README.md": PHOTOGRAPHS, "projects/README.md": TOYSCAPES}
HEADERS = [
    *("method", "data", "mIoU, baseline", "mIoU, method"),
    *("difference in mIoU", "difference in mask AP", "difference in PQ", "seeds"),
]


def render_headlines(root: Path, readme: str, headlines: Sequence[Headline]) -> str:
    """Return the table in Markdown; a project or row that was not run yet says so.

    Args:
        root: of the repository.
        readme: the file that gets the table, relative to `root`; links lead from there to the projects.
        headlines: its rows.

    Raises:
        DataError: a results.json can't be read.
        ReportingError: it has no such row.
    """
    lines = []
    for headline in headlines:
        link = Path(os.path.relpath(Path("projects", headline.project, "README.md"), Path(readme).parent)).as_posix()
        cells = render_scores(root / "projects" / headline.project, headline.row)
        lines.append([f"[{headline.caption}]({link})", headline.data, *cells])
    return tabulate(lines, HEADERS, tablefmt="github", disable_numparse=True)


def render_scores(project: Path, name: str) -> list[str]:
    """Return the cells of the scores of a row and its baseline, over the seeds that both have.

    Raises:
        DataError, ReportingError: see `render_headlines`.
    """
    published, file = read_published(project), project / RESULTS_FILE
    rows: dict[str, Any] = {row["name"]: row for row in published["rows"]} if published is not None else {}
    if rows and name not in rows:
        raise ReportingError(f"{file}: no row {name!r}; headlines.py names it")
    row = rows.get(name, {})
    if not row.get("difference"):
        return [NOT_RUN, *["–"] * 5]
    if row["baseline"] not in rows:
        raise ReportingError(f"{file}: no row {row['baseline']!r}, the baseline of {name!r}")
    shared = row["difference"]["seeds"]
    return [
        *(format_mean_and_spread(_pick(each, shared)) for each in (rows[row["baseline"]], row)),
        *(format_difference(row, metric) for metric in ("miou", "ap", "pq")),
        str(len(shared)),
    ]


def _pick(row: dict[str, Any], seeds: Sequence[int]) -> list[float | None]:
    """Return the mIoU of the runs with these seeds, which all rows compared here have."""
    return [score for seed, score in zip(row["seeds"], row["miou"]) if seed in seeds]


def write_headlines(root: Path) -> None:
    tables = {readme: render_headlines(root, readme, headlines) for readme, headlines in TABLES.items()}
    for readme, table in tables.items():
        replace_table(root / readme, MARKERS, table)
        print(table)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> None:
    ToolParser(__doc__).parse_args(arguments)
    run_tool(partial(write_headlines, root))


if __name__ == "__main__":
    main()
