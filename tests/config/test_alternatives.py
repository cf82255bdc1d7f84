"""SOLVER.EPOCHS and SOLVER.MAX_ITER say the same: the later source holds, and one source can't have both."""

from pathlib import Path

import pytest

from unified_seg.config import ConfigError, dump_config, load_config, read_stages

FILES = {
    "iterations.yaml": "SOLVER: {MAX_ITER: 77}",
    "epochs.yaml": "{_BASE_: iterations.yaml, SOLVER: {EPOCHS: 3}}",
    "again.yaml": "{_BASE_: epochs.yaml, SOLVER: {MAX_ITER: 5}}",
    "both.yaml": "SOLVER: {MAX_ITER: 5, EPOCHS: 2}",
    "steps.yaml": "SOLVER: {STEPS: [5], STEP_FRACTIONS: [0.5]}",
    "stage.yaml": "{SOLVER: {EPOCHS: 2, STAGES: [a, b]}, STAGES: {a: {SOLVER: {MAX_ITER: 6}}, b: {}}}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("iterations", [], (77, 0)),
        ("epochs", [], (77, 3)),
        ("again", [], (5, 0)),
        ("epochs", ["SOLVER.MAX_ITER", "9"], (9, 0)),
        ("iterations", ["SOLVER.EPOCHS", "0.5"], (77, 0.5)),
        ("iterations", ["SOLVER.EPOCHS", "0", "SOLVER.MAX_ITER", "9"], (9, 0)),
    ],
)
def test_the_later_source_holds(folder: Path, name: str, overrides: list[str], expected: tuple[int, float]) -> None:
    solver = load_config(folder / f"{name}.yaml", overrides).SOLVER
    assert expected == (solver.MAX_ITER, solver.EPOCHS)


def test_iterations_of_a_stage_replace_epochs_of_all(folder: Path) -> None:
    first, second = read_stages(load_config(folder / "stage.yaml"))
    assert (first.config.SOLVER.MAX_ITER, first.config.SOLVER.EPOCHS) == (6, 0)
    assert second.config.SOLVER.EPOCHS == 2
    overridden = load_config(folder / "stage.yaml", ["STAGES.b.SOLVER.MAX_ITER", "7"])
    assert read_stages(overridden)[1].config.SOLVER.EPOCHS == 0


def test_both_in_one_source_are_an_error(folder: Path) -> None:
    for name, overrides, keys in (
        ("both", [], r"both\.yaml: SOLVER\.MAX_ITER and SOLVER\.EPOCHS"),
        ("steps", [], r"steps\.yaml: SOLVER\.STEPS and SOLVER\.STEP_FRACTIONS"),
        ("epochs", ["SOLVER.EPOCHS", "2", "SOLVER.MAX_ITER", "3"], r"command line: SOLVER\.MAX_ITER and"),
    ):
        with pytest.raises(ConfigError, match=keys):
            load_config(folder / f"{name}.yaml", overrides)


def test_a_config_that_was_written_as_a_whole_is_read_again(folder: Path) -> None:
    cfg = load_config("", ["SOLVER.EPOCHS", "2"])
    (folder / "whole.yaml").write_text(dump_config(cfg))
    assert load_config(folder / "whole.yaml").SOLVER.EPOCHS == 2
