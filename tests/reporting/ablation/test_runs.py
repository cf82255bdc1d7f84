"""Runs: their config and command, and which changes make another run."""

import json
from pathlib import Path

import pytest
import yaml

from unified_seg.reporting.ablation.plan import read_plan
from unified_seg.reporting.ablation.run_files import RECORD, RunRecord, read_record, write_record
from unified_seg.reporting.ablation.runs import Run, State, plan_runs
from unified_seg.reporting.errors import ReportingError

ROOT = Path(__file__).resolve().parents[3]
ABLATIONS = sorted((ROOT / "projects").glob("**/ablation.yaml"))
STAGED = {"SOLVER.STAGES": ["first", "last"], "STAGES.first.SOLVER.MAX_ITER": 2, "STAGES.last.SOLVER.MAX_ITER": 3}
GROUPS = {"MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.BASE": "PSPHead", "MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.DIM": 8}


def plan(root: Path, rows: list[dict], seed: int = 0, **changes) -> list[Run]:
    """The runs of a plan with these rows on top of c.yaml."""
    path = root / "projects" / "p" / "ablation.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / "c.yaml").write_text("SOLVER:\n  IMS_PER_BATCH: 2\n")
    rows = [{"config": "c.yaml", **row} for row in rows]
    path.write_text(yaml.safe_dump({"datasets": {"val": "v"}, "rows": rows, **changes}))
    parsed = read_plan(path, root)
    return plan_runs(parsed, parsed.order_rows(), [seed], root / "output", root, "cpu")


def plan_one(root: Path, overrides: dict) -> Run:
    return plan(root, [{"name": "One", "overrides": overrides}])[0]


def record_of(run: Run) -> RunRecord:
    """The record of a run, as it is read from its file."""
    record = RunRecord("r", 0, [], dict(run.config), None, "m", {}, "c", [None])
    run.folder.mkdir(parents=True, exist_ok=True)
    write_record(run.folder, record)
    read = read_record(run.folder)
    assert read is not None
    return read


def test_overrides_become_config_and_command(tmp_path):
    asp = {"name": "+ ASP", "overrides": {"MODEL.ROI_HEADS.NAME": "", "SOLVER.STEPS": [3, 5]}}
    fusion = {"name": "+ fusion", "kind": "evaluate", "base": "+ ASP"}
    asp_run, fusion_run = plan(tmp_path, [asp, fusion], seed=5, budget={"SOLVER.MAX_ITER": 7})
    config = asp_run.config
    assert config["MODEL.ROI_HEADS.NAME"] == "" and config["SOLVER.STEPS"] in ([3, 5], (3, 5))
    assert config["SOLVER.MAX_ITER"] == 7 and config["SOLVER.IMS_PER_BATCH"] == 2
    assert config["SEED"] == 5 and config["DATASETS.TEST"] == ("v",)
    command = asp_run.build_command("python", Path("t.py"), resume=True)
    assert command[:5] == ["python", "t.py", "--config-file", "c.yaml", "--resume"]
    assert "--eval-only" in fusion_run.build_command("python", Path("t.py"), resume=False)
    assert fusion_run.config["MODEL.WEIGHTS"] == "output/asp/seed5/model_final.pth"


def test_run_interrupted_in_its_first_stage_is_resumed(tmp_path):
    run = plan_one(tmp_path, STAGED)
    record_of(run)
    assert run.find_state() is State.ABSENT
    (run.folder / "first").mkdir()
    (run.folder / "first" / "model_0000001.pth").write_bytes(b"weights")
    assert run.find_state() is State.INTERRUPTED
    assert "--resume" in run.build_command("python", Path("t.py"), resume=True)


@pytest.mark.parametrize("content", [None, '{"row": "half', '{"row": "One", "seed": "none"}'])
def test_folder_without_a_whole_record_is_of_another_run(tmp_path, content):
    run = plan_one(tmp_path, {})
    run.folder.mkdir(parents=True)
    (run.folder / "log.txt").touch()
    if content is not None:
        (run.folder / RECORD).write_text(content)
    assert run.find_state() is State.DIFFERENT
    assert run.set_aside().name == "seed0.old1" and run.find_state() is State.ABSENT


@pytest.mark.parametrize(
    "changed",
    [
        {**STAGED, "STAGES.last.SOLVER.MAX_ITER": 4},
        {**STAGED, "STAGES.first.SOLVER.BASE_LR": 0.5},
        {key: value for key, value in STAGED.items() if "first.SOLVER" not in key} | {"STAGES.first.SEED": 1},
    ],
)
def test_changed_keys_of_a_stage_are_another_run(tmp_path, changed):
    before = plan_one(tmp_path, STAGED)
    record = record_of(before)
    assert before.list_differences(record) == []
    (difference,) = plan_one(tmp_path, changed).list_differences(record)
    assert difference.startswith("STAGES was")


@pytest.mark.parametrize(
    ("overrides", "more", "same"),
    [
        (STAGED, {"STAGES.unused.SOLVER.MAX_ITER": 9}, True),
        ({"MODEL.SEM_SEG_HEAD.NAME": "PSPHead"}, GROUPS, True),
        ({"MODEL.SEM_SEG_HEAD.NAME": "ConfusionGroupHead"}, GROUPS, False),
        ({**STAGED, "STAGES.last.MODEL.SEM_SEG_HEAD.NAME": "ConfusionGroupHead"}, GROUPS, False),
    ],
)
def test_unused_stages_and_heads_are_no_part_of_a_run(tmp_path, overrides, more, same):
    record = record_of(plan_one(tmp_path, overrides))
    assert (plan_one(tmp_path, {**overrides, **more}).list_differences(record) == []) == same


@pytest.mark.parametrize("place", ["overrides", "budget"])
def test_unknown_config_key_is_an_error_with_the_row(tmp_path, place):
    wrong = {"SOLVER.MAX_ITERS": 3}
    row, changes = ({"overrides": wrong}, {}) if place == "overrides" else ({}, {"budget": wrong})
    with pytest.raises(ReportingError, match=r"p/ablation\.yaml: row 'One'.*SOLVER\.MAX_ITERS"):
        plan(tmp_path, [{"name": "One", **row}], **changes)


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.parent.name)
def test_ablation_of_every_project_is_valid(path, tmp_path):
    parsed = read_plan(path, ROOT)
    runs = plan_runs(parsed, parsed.order_rows(), parsed.seeds[:1], tmp_path, ROOT, "cpu")
    assert len(runs) == len(parsed.rows)
    # Published rows were made with the overrides that the plan has now.
    results = path.parent / "results.json"
    for row in json.loads(results.read_text())["rows"] if results.is_file() else []:
        assert parsed.find_row(row["name"]).overrides == row["overrides"]
