"""Reading ablation.yaml: every mistake is one line with the file, the row and the cause."""

from pathlib import Path

import pytest
import yaml

from unified_seg.reporting.ablation.plan import read_plan
from unified_seg.reporting.errors import ReportingError

TOYSCAPES = {"preset": "standard", "size": "128x256", "train": 8, "heldout": 2, "val": 2, "seed": 0, "version": "1"}


def content(**changes):
    rows = [
        {"name": "Base line", "config": "c.yaml"},
        {"name": "+ ASP", "config": "c.yaml", "baseline": "Base line", "metrics": ["miou", "pq"]},
        {"name": "+ fusion", "config": "c.yaml", "kind": "evaluate", "base": "+ ASP", "overrides": {"SEED": 3}},
    ]
    return {"datasets": {"val": "v"}, "rows": rows, "budget": {"SOLVER.MAX_ITER": 7}} | changes


def with_row(index: int, **changes) -> dict:
    changed = content()
    changed["rows"][index] |= changes
    return changed


def read(root: Path, changed: dict):
    path = root / "projects" / "p" / "ablation.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / "c.yaml").write_text("SOLVER:\n  IMS_PER_BATCH: 2\n")
    path.write_text(yaml.safe_dump(changed))
    return read_plan(path, root)


def test_rows_with_defaults_of_the_plan(tmp_path):
    plan = read(tmp_path, content(seeds=[4], toyscapes=TOYSCAPES))
    assert [row.slug for row in plan.rows] == ["base_line", "asp", "fusion"]
    assert plan.project == "p" and plan.seeds == (4,) and plan.toyscapes.as_dict() == TOYSCAPES
    assert [row.metrics for row in plan.rows] == [("miou",), ("miou", "pq"), ("miou",)]
    assert read(tmp_path, content(metrics=["ap"])).rows[0].metrics == ("ap",)


@pytest.mark.parametrize(
    ("datasets", "reported", "choices"),
    [
        ({"val": "v"}, "v", None),
        ({"val": "v", "heldout": "h"}, "v", ("heldout", "h")),
        ({"test": "t"}, "t", None),
        ({"test": "t", "val": "v"}, "t", ("val", "v")),
    ],
)
def test_data_sets_of_the_table_and_of_choices(datasets, reported, choices, tmp_path):
    plan = read(tmp_path, content(datasets=datasets, images={reported: 5}))
    assert (plan.reported, plan.choices, plan.images) == (reported, choices, {reported: 5})


def test_ablation_in_a_folder_of_a_project_has_the_name_of_both(tmp_path):
    read(tmp_path, content())
    path = tmp_path / "projects/p/photos/ablation.yaml"
    path.parent.mkdir()
    path.write_text((tmp_path / "projects/p/ablation.yaml").read_text())
    assert read_plan(path, tmp_path).project == "p/photos"


def test_bases_come_before_their_users(tmp_path):
    plan = read(tmp_path, content())
    assert [row.name for row in plan.order_rows(["fusion"])] == ["+ ASP", "+ fusion"]
    assert plan.find_row("+ ASP") is plan.find_row("asp")
    later = read(tmp_path, with_row(0, base="+ fusion"))  # a base may be listed after its user
    assert [row.slug for row in later.order_rows()] == ["asp", "fusion", "base_line"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (content(sedes=[1]), "unknown key sedes"),
        (with_row(1, overide={}), "row '+ ASP': unknown key overide"),
        (with_row(1, config=3), "row '+ ASP': config must be str, got 3"),
        (with_row(1, config="absent.yaml"), "row '+ ASP': config: absent.yaml"),
        (with_row(1, name="base-line"), "row 'Base line': name: 'base_line'"),
        (with_row(1, name=3), "row 3: name must be str"),
        (with_row(1, base="Bass line"), "row '+ ASP': base: 'Bass line'"),
        (with_row(1, baseline="none"), "row '+ ASP': baseline: 'none'"),
        (with_row(1, base="+ fusion"), "row '+ ASP': base: + ASP -> + fusion -> + ASP"),
        (with_row(1, metrics=["mIoU"]), "row '+ ASP': metrics: mIoU miou, ap, miou_uncorrected"),
        (with_row(1, metrics=["miou_uncorected"]), "row '+ ASP': metrics: miou_uncorected"),
        (with_row(1, metrics=[]), "row '+ ASP': metrics must be array of length 1"),
        (with_row(1, kind="test"), "row '+ ASP': kind must be train evaluate test"),
        (with_row(0, kind="evaluate"), "row 'Base line': base"),
        (content(rows=[]), "rows must be array"),
        (content(rows=[{"config": "c.yaml"}]), "row 1: name is missing"),
        (content(rows=["a"]), "row 1: must be object"),
        (content(seeds=[0, 0]), "seeds:"),
        (content(seeds=[-1]), "seeds[0] must be int"),
        (content(seeds=[True]), "seeds[0] must be int"),
        (content(datasets={"heldout": "h"}), "datasets: heldout"),
        (content(datasets={"val": "v", "test": "t", "heldout": "h"}), "datasets: test val heldout"),
        (content(images={"v": 0}), "images[...] must be int"),
        (content(budget={"SEED": 1, 3: 4}), "must be str budget"),
        (content(toyscapes={**TOYSCAPES, "val": "2"}), "toyscapes: val must be int"),
        (content(toyscapes={**TOYSCAPES, "size": "128"}), "toyscapes: size must be str"),
        (content(toyscapes={**TOYSCAPES, "sead": 1}), "toyscapes: unknown key sead"),
        (content(toyscapes={"preset": "demo"}), "toyscapes: size is missing"),
        ([1], "must be object"),
    ],
)
def test_mistake_is_one_line_with_file_row_and_key(tmp_path, changed, words):
    with pytest.raises(ReportingError) as error:
        read(tmp_path, changed)
    message = str(error.value)
    assert "p/ablation.yaml: " in message and "\n" not in message
    missing = [word for word in words.split(": ")[:-1] if f"{word}: " not in message]
    assert not missing and all(word in message for word in words.split(": ")[-1].split()), message


def test_file_that_is_not_yaml_is_an_error(tmp_path):
    path = tmp_path / "ablation.yaml"
    path.write_text("rows: !!python/object/apply:os.system [echo]")
    with pytest.raises(ReportingError, match=r"ablation\.yaml: not readable as plain YAML"):
        read_plan(path, tmp_path)
    with pytest.raises(ReportingError, match=r"other/ablation\.yaml: no such file"):
        read_plan(tmp_path / "other" / "ablation.yaml", tmp_path)


@pytest.mark.parametrize("changed", [content(budget={"OUTPUT_DIR": "/x"}), with_row(1, overrides={"OUTPUT_DIR": "/x"})])
def test_a_plan_can_not_say_where_runs_are_written(tmp_path, changed):
    with pytest.raises(ReportingError, match=r"ablation\.yaml: .*OUTPUT_DIR"):
        read(tmp_path, changed)


def test_configs_outside_of_the_repository_are_refused(tmp_path):
    (tmp_path / "outside.yaml").write_text("SEED: 1")
    (tmp_path / "root").mkdir()
    for name in ("../outside.yaml", str(tmp_path / "outside.yaml")):
        with pytest.raises(ReportingError, match=r"row 'Base line': config: .* leads out of"):
            read(tmp_path / "root", with_row(0, config=name))


def test_a_plan_of_nested_aliases_is_refused(tmp_path):
    aliases = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 10}]" for n in range(1, 10))]
    (tmp_path / "ablation.yaml").write_text("\n".join(aliases))
    with pytest.raises(ReportingError, match=r"ablation\.yaml: .*values"):
        read_plan(tmp_path / "ablation.yaml", tmp_path)
