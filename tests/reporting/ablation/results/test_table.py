"""The tables, from results.json alone."""

import json
from pathlib import Path

import pytest

from unified_seg.reporting.ablation.metrics import find_metric, list_known_metrics
from unified_seg.reporting.ablation.results.table import (
    CLASSES,
    LEVELS,
    MAIN,
    render_classes,
    render_levels,
    render_main,
    write_tables,
)
from unified_seg.reporting.readme import get_markers

ROOT = Path(__file__).resolve().parents[3]

RESULTS = {
    "project": "p",
    "command": "python tools/ablate.py p --seeds 0 1",
    "machine": "Some CPU, 2 cores",
    "versions": {"torch": "2"},
    "toyscapes": 1,
    "commit": "abc",
    "budget": {"SOLVER.MAX_ITER": 30, "MODEL.ROI_HEADS.NAME": ""},
    "data": {"datasets": {"val": "v"}, "toyscapes": None},
    "rows": [
        {
            "name": "base",
            "overrides": {},
            "baseline": None,
            "iterations": 30,
            "seeds": [0, 1],
            "miou": [50.0, 52.0],
            "iou": {"road": [90.0, 91.0], "truck": [10.0, None]},
            "ap": [None, None],
            "pq": [None, None],
            "train_s": [60.0, 120.0],
        },
        {
            "name": "more",
            "overrides": {"SEED": 3, "SOLVER.STAGES": ["base", "detail"], "OUTPUT_DIR": "a'$b"},
            "baseline": "base",
            "iterations": 0,
            "seeds": [0],
            "miou": [53.0],
            "iou": {"road": [92.25], "truck": [None]},
            "ap": [None],
            "pq": [20.0],
            "train_s": [0.0],
            "difference": {"seeds": [0], "miou": {"mean": 3.0, "low": -1.0, "high": 7.0}},
        },
        {
            "name": "later",
            "overrides": {},
            "baseline": "base",
            "iterations": 0,
            "seeds": [],
            "miou": [],
            "iou": {},
            "ap": [],
            "pq": [],
            "train_s": [],
        },
    ],
}


def parse(table: str) -> list[list[str]]:
    """The cells of the first Markdown table in a text, without the rule below the header."""
    lines = [line for line in table.partition("\n\n")[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


def test_every_known_metric_has_a_column():
    assert {"miou_uncorrected", "miou_ungrouped"} < set(list_known_metrics())
    assert all(find_metric(name) is not None for name in list_known_metrics())
    assert find_metric("miou_ungrouped") == ("sem_seg_ungrouped", "mIoU", "mIoU ungrouped")
    assert find_metric("seeds") is None


def test_main_table_has_scores_and_differences():
    # Mean and sample standard deviation of 50 and 52: 51 and sqrt(2). No AP anywhere: no column.
    assert parse(render_main(RESULTS)) == [
        ["row", "iterations", "seeds", "mIoU", "difference in mIoU", "PQ", "training, minutes"],
        ["base", "30", "0, 1", "51.00 ± 1.41", "–", "–", "1.5"],
        ["more", "–", "0", "53.00", "+3.00 [-1.00, +7.00]", "20.00", "–"],
        ["later", "–", "not run yet", "–", "–", "–", "–"],
    ]


def test_details_say_how_the_table_was_made():
    _, _, details = render_main(RESULTS).partition("<details>")
    for words in (
        "`python tools/ablate.py p --seeds 0 1`",
        "`SOLVER.MAX_ITER 30`, `MODEL.ROI_HEADS.NAME ''`",
        # As a shell reads them.
        """| more | base | `SEED 3`, `SOLVER.STAGES "['base', 'detail']"`, `OUTPUT_DIR 'a'"'"'$b'` |""",
        "| later | base | – |",
        "Some CPU, 2 cores; torch 2",
        "abc",
        "</details>",
    ):
        assert words in details


def test_class_table_has_a_column_per_row_that_was_run():
    # road: (90 + 91) / 2; truck occurred in one of the two runs of "base". "later" was not run.
    expected = [["class", "base", "more"], ["road", "90.5", "92.2"], ["truck", "10.0", "–"]]
    assert parse(render_classes(RESULTS)) == expected


def test_level_table_has_predictions_by_row_and_pixels_by_column():
    levels = {"mIoU_8_8": [50.0, 51.0], "mIoU_8_4": [50.0, 50.0], "mIoU_4_8": [30.0, None], "mIoU_4_4": [41.0, 42.0]}
    rows = [RESULTS["rows"][0], {**RESULTS["rows"][0], "name": "pyramidal", "levels": levels}]
    assert parse(render_levels({**RESULTS, "rows": rows})) == [
        ["pyramidal", "pixels of stride 8", "pixels of stride 4"],
        ["predictions of stride 8", "**50.50**", "30.00"],
        ["predictions of stride 4", "50.00", "**41.50**"],
    ]


@pytest.mark.parametrize("path", sorted(ROOT.glob("projects/*/results.json")), ids=lambda path: path.parent.name)
def test_tables_in_the_readme_of_every_project_are_up_to_date(path, tmp_path):
    """Otherwise run python tools/ablate.py <project> --render-only."""
    published = (path.parent / "README.md").read_text(encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_text(published, encoding="utf-8")
    write_tables(readme, json.loads(path.read_text(encoding="utf-8")))
    assert readme.read_text(encoding="utf-8") == published


def test_tables_are_written_where_the_readme_has_places(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("\n".join([*get_markers(MAIN), *get_markers(CLASSES)]))
    write_tables(readme, RESULTS)
    text = readme.read_text()
    assert render_main(RESULTS) in text and render_classes(RESULTS) in text and LEVELS not in text
