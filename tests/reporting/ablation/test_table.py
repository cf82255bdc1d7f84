"""The table, from results.json alone."""

from unified_seg.reporting.ablation.plan import METRICS
from unified_seg.reporting.ablation.table import TITLES, render, render_classes, render_levels

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


def test_every_metric_has_a_column():
    assert TITLES.keys() == METRICS.keys()


def test_render():
    # Mean and sample standard deviation of 50 and 52: 51 and sqrt(2). No AP anywhere: no column.
    lines = render(RESULTS).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    head, _, base, more, later = rows
    assert head == [
        "row", "iterations", "seeds", "mIoU", "difference in mIoU", "PQ", "training, minutes"
    ]  # fmt: skip
    assert base == ["base", "30", "0, 1", "51.00 ± 1.41", "–", "–", "1.5"]
    assert more == ["more", "–", "0", "53.00", "+3.00 [-1.00, +7.00]", "20.00", "–"]
    assert later == ["later", "–", "not run yet", "–", "–", "–", "–"]
    text = "\n".join(lines)
    for words in (
        "`python tools/ablate.py p --seeds 0 1`",
        "`SOLVER.MAX_ITER 30`, `MODEL.ROI_HEADS.NAME ''`",
        # As a shell reads them.
        """more: `SEED 3`, `SOLVER.STAGES "['base', 'detail']"`, `OUTPUT_DIR 'a'"'"'$b'`.""",
        "Some CPU, 2 cores",
        "abc",
        "sample",
    ):
        assert words in text


def test_classes_have_a_table_of_their_own():
    # road: (90 + 91) / 2; truck occurred in one of the two runs of "base". "later" was not run.
    table, _, note = render_classes(RESULTS).partition("\n\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[0] == ["class", "base", "more"]
    assert rows[2:] == [["road", "90.5", "92.2"], ["truck", "10.0", "–"]]
    assert "mean over the seeds" in note


def test_levels_have_a_table_of_their_own():
    levels = {"mIoU_8_8": [50.0, 51.0], "mIoU_8_4": [50.0, 50.0], "mIoU_4_8": [30.0, None], "mIoU_4_4": [41.0, 42.0]}
    rows = [RESULTS["rows"][0], {**RESULTS["rows"][0], "name": "pyramidal", "levels": levels}]
    table, _, note = render_levels({**RESULTS, "rows": rows}).partition("\n\n")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0] == ["pyramidal", "pixels of stride 8", "pixels of stride 4"]
    # By column the pixels that a level is assigned, by row the level whose answer is taken.
    assert lines[2:] == [["stride 8 answers", "**50.50**", "30.00"], ["stride 4 answers", "50.00", "**41.50**"]]
    assert note.startswith("- mIoU in percent")
