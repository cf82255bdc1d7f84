"""Reading ablation.yaml: every mistake is one error that names the file and the row."""

import json
from pathlib import Path

import pytest
import yaml

from unified_seg.reporting.ablation.plan import read_plan
from unified_seg.reporting.ablation.runs import State, plan_runs, write_record

ROOT = Path(__file__).resolve().parents[2]
TOYSCAPES = {"preset": "standard", "size": "128x256", "train": 8, "heldout": 2, "val": 2, "seed": 0, "version": "1"}


def content(**changes):
    rows = [
        {"name": "Base line", "config": "c.yaml"},
        {"name": "+ ASP", "config": "c.yaml", "baseline": "Base line", "metrics": ["miou", "pq"]},
        {"name": "+ fusion", "config": "c.yaml", "kind": "evaluate", "base": "+ ASP", "overrides": {"SEED": 3}},
    ]
    return {"datasets": {"val": "v"}, "rows": rows, "budget": {"SOLVER.MAX_ITER": 7}} | changes


def read(root: Path, changed: dict):
    path = root / "projects" / "p" / "ablation.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / "c.yaml").write_text("SOLVER:\n  IMS_PER_BATCH: 2\n")
    path.write_text(yaml.safe_dump(changed))
    return read_plan(path, root)


def with_row(index: int, **changes) -> dict:
    changed = content()
    changed["rows"][index] |= changes
    return changed


def test_reads_rows(tmp_path):
    plan = read(tmp_path, content(seeds=[4], toyscapes=TOYSCAPES))
    assert [row.slug for row in plan.rows] == ["base_line", "asp", "fusion"]
    assert plan.project == "p" and plan.seeds == (4,) and plan.toyscapes.as_dict() == TOYSCAPES
    assert plan.rows[0].metrics == ("miou",) and plan.rows[1].metrics == ("miou", "pq")


def test_bases_come_first(tmp_path):
    plan = read(tmp_path, content())
    assert [row.name for row in plan.in_order(["fusion"])] == ["+ ASP", "+ fusion"]
    assert plan.row("+ ASP") is plan.row("asp")
    later = read(tmp_path, with_row(0, base="+ fusion"))  # a base may be listed after its user
    assert [row.slug for row in later.in_order()] == ["asp", "fusion", "base_line"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (content(sedes=[1]), "unknown key sedes"),
        (with_row(1, overide={}), r"row '\+ ASP' has the unknown key overide"),
        (with_row(1, config=3), "config must be a string"),
        (with_row(1, config="absent.yaml"), r"row '\+ ASP': its config absent.yaml is not a file"),
        (with_row(1, name="base-line"), "folder name 'base_line' is empty or another row's too"),
        (with_row(1, base="Bass line"), "no row is called 'Bass line', which is its base"),
        (with_row(1, baseline="none"), "no row is called 'none', which is its baseline"),
        (with_row(1, base="+ fusion"), r"bases go in a circle: \+ ASP -> \+ fusion -> \+ ASP"),
        (with_row(1, metrics=["mIoU"]), r"metrics are some of miou, ap, pq, .*got \['mIoU'\]"),
        (with_row(1, kind="test"), "kind is train or evaluate, not 'test'"),
        (with_row(0, kind="evaluate"), "needs the base whose checkpoint"),
        (content(rows=[]), "rows is empty"),
        (content(seeds=[0, 0]), "seeds must be different"),
        (content(datasets={"heldout": "h"}), "datasets lacks val"),
        (content(toyscapes={**TOYSCAPES, "val": "2"}), "toyscapes: val must be a whole number, got '2'"),
        (content(toyscapes={"preset": "demo"}), "toyscapes must have exactly the keys"),
        ([1], "the file must be a mapping"),
    ],
)
def test_mistakes(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, changed)
    assert "ablation.yaml: " in str(error.value) and "\n" not in str(error.value)


def test_not_yaml(tmp_path):
    path = tmp_path / "ablation.yaml"
    path.write_text("rows: !!python/object/apply:os.system [echo]")
    with pytest.raises(ValueError, match="not readable as YAML"):
        read_plan(path, tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        read_plan(tmp_path / "other" / "ablation.yaml", tmp_path)


def test_overrides_become_a_command_line(tmp_path):
    plan = read(tmp_path, with_row(1, overrides={"MODEL.ROI_HEADS.NAME": "", "SOLVER.STEPS": [3, 5]}))
    asp, fusion = plan_runs(plan, plan.rows[1:], [5], tmp_path / "output", tmp_path, "cpu")
    assert asp.config["MODEL.ROI_HEADS.NAME"] == "" and asp.config["SOLVER.STEPS"] in ([3, 5], (3, 5))
    assert asp.config["SOLVER.MAX_ITER"] == 7 and asp.config["SOLVER.IMS_PER_BATCH"] == 2
    assert asp.config["SEED"] == 5 and asp.config["DATASETS.TEST"] == ("v",)
    assert asp.command("python", Path("t.py"), resume=True)[:5] == [
        "python",
        "t.py",
        "--config-file",
        "c.yaml",
        "--resume",
    ]
    assert "--eval-only" in fusion.command("python", Path("t.py"), resume=False)
    assert fusion.config["MODEL.WEIGHTS"] == "output/asp/seed5/model_final.pth"


STAGED = {"SOLVER.STAGES": ["first", "last"], "STAGES.first.SOLVER.MAX_ITER": 2, "STAGES.last.SOLVER.MAX_ITER": 3}


def staged_run(tmp_path, overrides):
    plan = read(tmp_path, with_row(0, overrides=overrides))
    (run,) = plan_runs(plan, plan.rows[:1], [0], tmp_path / "output", tmp_path, "cpu")
    return run


def test_a_staged_run_that_was_interrupted_in_its_first_stage_is_resumed(tmp_path):
    run = staged_run(tmp_path, STAGED)
    (run.folder / "first").mkdir(parents=True)
    write_record(run.folder, {"config": run.config, "base_finished": None, "finished": None})
    assert run.state() is State.ABSENT
    (run.folder / "first" / "model_0000001.pth").touch()
    assert run.state() is State.INTERRUPTED
    assert "--resume" in run.command("python", Path("t.py"), resume=True)


@pytest.mark.parametrize(
    "changed",
    [
        {**STAGED, "STAGES.last.SOLVER.MAX_ITER": 4},
        {**STAGED, "STAGES.first.SOLVER.BASE_LR": 0.5},
        {key: value for key, value in STAGED.items() if "first.SOLVER" not in key} | {"STAGES.first.SEED": 1},
    ],
)
def test_other_keys_of_a_stage_are_another_run(tmp_path, changed):
    before = staged_run(tmp_path, STAGED)
    record = json.loads(json.dumps({"config": before.config, "base_finished": None}))
    assert before.differences(record) == []
    (difference,) = staged_run(tmp_path, changed).differences(record)
    assert difference.startswith("STAGES was")


GROUPS = {"MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.BASE": "PSPHead", "MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.DIM": 8}


@pytest.mark.parametrize(
    ("overrides", "more", "same"),
    [
        (STAGED, {"STAGES.unused.SOLVER.MAX_ITER": 9}, True),
        ({"MODEL.SEM_SEG_HEAD.NAME": "PSPHead"}, GROUPS, True),
        ({"MODEL.SEM_SEG_HEAD.NAME": "ConfusionGroupHead"}, GROUPS, False),
        ({**STAGED, "STAGES.last.MODEL.SEM_SEG_HEAD.NAME": "ConfusionGroupHead"}, GROUPS, False),
    ],
)
def test_what_is_not_read_is_no_part_of_a_run(tmp_path, overrides, more, same):
    before = staged_run(tmp_path, overrides)
    record = json.loads(json.dumps({"config": before.config, "base_finished": None}))
    differences = staged_run(tmp_path, {**overrides, **more}).differences(record)
    assert (differences == []) == same


@pytest.mark.parametrize("place", ["row", "budget"])
def test_a_config_key_that_does_not_exist(tmp_path, place):
    wrong = {"SOLVER.MAX_ITERS": 3}
    plan = read(tmp_path, with_row(0, overrides=wrong) if place == "row" else content(budget=wrong))
    with pytest.raises(ValueError, match=r"row 'Base line'.*SOLVER\.MAX_ITERS"):
        plan_runs(plan, plan.rows, [0], tmp_path / "output", tmp_path, None)


@pytest.mark.parametrize("path", sorted((ROOT / "projects").glob("*/ablation.yaml")), ids=lambda path: path.parent.name)
def test_every_ablation_of_the_project_is_valid(path, tmp_path):
    plan = read_plan(path, ROOT)
    runs = plan_runs(plan, plan.in_order(), plan.seeds[:1], tmp_path, ROOT, "cpu")
    assert len(runs) == len(plan.rows)
