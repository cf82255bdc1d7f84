"""The script that writes what each method adds into the README of the repository."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from unified_seg.reporting.readme import read_with_markers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def headlines(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(ROOT / "projects/headlines.py")


@pytest.fixture
def project(tmp_path: Path, headlines: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with one project, whose row "after" is the headline."""
    monkeypatch.setattr(headlines, "HEADLINES", (headlines.Headline("p", "after", "a method"),))
    before = {"name": "before", "baseline": None, "seeds": [0, 1], "miou": [50.0, 52.0]}
    compared = {"seeds": [0], "miou": {"mean": 3.0, "low": 1.0, "high": 5.0}}
    after = {"name": "after", "baseline": "before", "seeds": [0], "miou": [53.0], "difference": compared}
    file = tmp_path / "projects/p/results.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"rows": [before, after]}))
    (tmp_path / "README.md").write_text("<!-- headlines:begin -->\nold\n<!-- headlines:end -->\n")
    return tmp_path


def test_row_stands_beside_its_baseline(headlines: ModuleType, project: Path) -> None:
    headlines.main(project)
    *_, row, _ = (project / "README.md").read_text().splitlines()
    # Mean and sample standard deviation of 50 and 52: 51 and sqrt(2).
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "[a method](projects/p/README.md)", "51.00 ± 1.41", "53.00", "+3.00 [+1.00, +5.00]", "–", "1"
    ]  # fmt: skip


def test_row_that_was_not_run_is_an_error(headlines: ModuleType, project: Path) -> None:
    (project / "projects/p/results.json").write_text(json.dumps({"rows": [{"name": "after", "baseline": None}]}))
    with pytest.raises(SystemExit, match=r"results\.json: row 'after'"):
        headlines.main(project)
    (project / "projects/p/results.json").unlink()
    with pytest.raises(SystemExit, match=r"results\.json: "):
        headlines.main(project)


def test_readme_is_up_to_date(headlines: ModuleType) -> None:
    published = read_with_markers(ROOT / "README.md", "headlines")
    assert headlines.render_headlines(ROOT) in published, "run python projects/headlines.py"
