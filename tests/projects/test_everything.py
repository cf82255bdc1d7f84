"""The script of projects/everything that joins scores, times and parameters into one table."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from unified_seg.config import load_config, read_stages
from unified_seg.config.heads import wrapper_nodes

PROJECT = Path(__file__).parents[2] / "projects/everything"


@pytest.fixture(scope="module")
def parts(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(PROJECT / "parts.py")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Results of the real rows, times of the first four, and a README, as arguments."""
    rows: list[dict[str, Any]] = yaml.safe_load((PROJECT / "ablation.yaml").read_text())["rows"]
    for number, row in enumerate(rows):
        row |= {"seeds": [0], "miou": [60.0 + number], "ap": [30.0], "pq": [None], "train_s": [90.0 * number]}
        row.setdefault("overrides", {})
    (tmp_path / "results.json").write_text(json.dumps({"command": "python tools/ablate.py everything", "rows": rows}))
    against = {"against": rows[0]["name"], "inputs": "a scene", "machine": "a machine"}
    against["command"] = "python tools/benchmark.py everything"
    # The machine was slower when the first two were timed together.
    times = [
        {"name": row["name"], "peer_ms": peer, "ratio": ratio, **against}
        for row, peer, ratio in zip(rows[1:4], (180.0, 100.0, 100.0), (1.0, 0.8, 0.5))
    ]
    (tmp_path / "times.json").write_text(json.dumps(times))
    (tmp_path / "README.md").write_text("# Title\n<!-- parts:begin -->\nold\n<!-- parts:end -->\nmore\n")
    names = {"--results": "results.json", "--times": "times.json", "--readme": "README.md"}
    return [part for flag, name in names.items() for part in (flag, str(tmp_path / name))]


def test_scores_times_and_parameters_stand_in_one_table(parts: ModuleType, files: list[str]) -> None:
    parts.main(files)
    content = Path(files[-1]).read_text()
    assert content.startswith("# Title\n<!-- parts:begin -->\n|") and content.endswith("<!-- parts:end -->\nmore\n")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in content.splitlines() if line[:1] == "|"][2:]
    assert [line[1:6] for line in lines[:4]] == [
        ["1", "60.00", "30.00", "–", "100"],
        ["1", "61.00", "30.00", "–", "100"],
        ["1", "62.00", "30.00", "–", "125"],
        ["1", "63.00", "30.00", "–", "200"],
    ]
    assert [line[5] for line in lines[4:]] == ["–"] and [line[7] for line in lines] == ["–", "1.5", "3.0", "4.5", "6.0"]
    # A fusion has no parameters; subnets and branches have; the last row is the second, trained for longer.
    millions = [float(line[6]) for line in lines]
    assert millions[0] == millions[1] == millions[4] < millions[2] < millions[3]


def test_the_control_has_as_many_iterations_as_all_stages_together() -> None:
    stages = read_stages(load_config(PROJECT / "configs/toyscapes.yaml"))
    control = yaml.safe_load((PROJECT / "ablation.yaml").read_text())["rows"][-1]
    assert sum(stage.config.SOLVER.MAX_ITER for stage in stages) == control["overrides"]["SOLVER.MAX_ITER"]


def test_the_first_stage_is_trained_as_the_baseline_of_the_fusion() -> None:
    stage = read_stages(load_config(PROJECT / "configs/toyscapes.yaml"))[0].config
    row = yaml.safe_load((PROJECT / "ablation.yaml").read_text())["rows"][0]
    overrides = [part for key, value in row["overrides"].items() for part in (key, str(value))]
    baseline = load_config(PROJECT.parents[1] / row["config"], overrides)
    for cfg in (stage, baseline):
        # Keys of heads that neither has, of the fusion, which is not trained, and of the output folder.
        for node in wrapper_nodes().values():
            del cfg.MODEL.SEM_SEG_HEAD[node]
        del cfg.MODEL["PANOPTIC_FUSION"], cfg["OUTPUT_DIR"]
    assert stage == baseline


def test_readme_without_a_place_is_an_error(parts: ModuleType, files: list[str]) -> None:
    Path(files[-1]).write_text("# Title\n")
    with pytest.raises(SystemExit, match=r"README\.md: .*<!-- parts:begin -->"):
        parts.main(files)
    Path(files[3]).write_text("no json")
    with pytest.raises(SystemExit, match=r"times\.json: "):
        parts.main(files)
