"""The script that writes what each method adds into the README of the repository."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from unified_seg.reporting.readme import read_with_markers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def headlines(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(ROOT / "projects/headlines.py")


def write_results(root: Path, *rows: dict[str, Any]) -> None:
    """Write the results of the project, with what a row needs at least."""
    row = {"config": "c.yaml", "overrides": {}, "kind": "train", "base": None, "baseline": None, "iterations": 1}
    row |= {"seeds": [], "miou": [], "train_s": []}
    results = dict.fromkeys(("project", "command", "machine", "commit"), "") | {"versions": {}, "data": {}}
    file = root / "projects/p/data/results.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**results, "budget": {}, "rows": [{**row, **each} for each in rows]}))


@pytest.fixture
def project(tmp_path: Path, headlines: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with one project, whose row "after" is the headline of a README beside it."""
    rows = (headlines.Headline("p/data", "after", "a method", "photos"),)
    monkeypatch.setattr(headlines, "TABLES", {"projects/README.md": rows})
    before = {"name": "before", "seeds": [0, 1], "miou": [50.0, 52.0]}
    compared = {metric: {"mean": 3.0, "low": 1.0, "high": 5.0} for metric in ("miou", "pq")} | {"seeds": [0]}
    after = {"name": "after", "baseline": "before", "seeds": [0], "miou": [53.0], "difference": compared}
    write_results(tmp_path, before, after)
    (tmp_path / "projects/README.md").write_text("<!-- headlines:begin -->\nold\n<!-- headlines:end -->\n")
    return tmp_path


def read_row(root: Path) -> list[str]:
    *_, row, _ = (root / "projects/README.md").read_text().splitlines()
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_row_stands_beside_its_baseline_of_the_same_seeds(headlines: ModuleType, project: Path) -> None:
    headlines.main([], project)
    difference = "+3.00 [+1.00, +5.00]"
    assert read_row(project) == [
        "[a method](p/data/README.md)", "photos", "50.00", "53.00", difference, "–", difference, "1"
    ]  # fmt: skip


def test_row_of_several_seeds_has_mean_and_spread(headlines: ModuleType, project: Path) -> None:
    before = {"name": "before", "seeds": [0, 1, 2], "miou": [50.0, 52.0, 90.0]}
    compared = {"miou": {"mean": 3.0, "low": 1.0, "high": 5.0}, "seeds": [0, 1]}
    after = {"name": "after", "baseline": "before", "seeds": [0, 1], "miou": [53.0, 55.0], "difference": compared}
    write_results(project, before, after)
    headlines.main([], project)
    # Mean and sample standard deviation of 50 and 52: 51 and sqrt(2).
    assert read_row(project)[2:4] == ["51.00 ± 1.41", "54.00 ± 1.41"] and read_row(project)[-1] == "2"


def test_row_that_was_not_run_says_so(headlines: ModuleType, project: Path) -> None:
    write_results(project, {"name": "after"})
    headlines.main([], project)
    assert read_row(project)[2] == "not run yet"
    (project / "projects/p/data/results.json").unlink()
    headlines.main([], project)
    assert read_row(project)[2] == "not run yet"


def test_row_that_no_plan_has_is_an_error(headlines: ModuleType, project: Path) -> None:
    write_results(project, {"name": "before"})
    with pytest.raises(SystemExit, match=r"results\.json: no row 'after'"):
        headlines.main([], project)


def test_help_changes_no_readme(headlines: ModuleType, project: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        headlines.main(["--help"], project)
    assert ended.value.code == 0 and "old" in (project / "projects/README.md").read_text()


def test_readmes_are_up_to_date(headlines: ModuleType) -> None:
    for readme, rows in headlines.TABLES.items():
        published = read_with_markers(ROOT / readme, "headlines")
        assert headlines.render_headlines(ROOT, readme, rows) in published, "run python projects/headlines.py"
