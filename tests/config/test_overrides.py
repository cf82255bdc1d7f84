from pathlib import Path

import pytest

from unified_seg.config import ConfigError, check_overrides, load_config

CONFIG = """
SOLVER: {STAGES: [base, groups], MAX_ITER: 9}
STAGES:
  base: {SOLVER: {MAX_ITER: 30}}
  groups: {SOLVER: {MAX_ITER: 15, BASE_LR: 0.5}}
  more: {SOLVER: {MAX_ITER: 2}}
"""
BOTH = ("base", "groups")


def check(folder: Path, *overrides: str, stages: tuple[str, ...] = BOTH) -> list[str]:
    (folder / "config.yaml").write_text(CONFIG)
    return check_overrides(load_config(folder / "config.yaml", overrides), overrides, stages)


def test_overrides_with_an_effect_pass(tmp_path: Path) -> None:
    assert check(tmp_path) == []
    assert check(tmp_path, "SEED", "3", "STAGES.base.SOLVER.MAX_ITER", "4", "SOLVER.IMS_PER_BATCH", "2") == []
    # All have an effect without stages, and a stage may have the same value.
    assert check(tmp_path, "SOLVER.STAGES", "[]", "SOLVER.MAX_ITER", "4", stages=()) == []
    assert check(tmp_path, "SOLVER.MAX_ITER", "30", "STAGES.groups.SOLVER.MAX_ITER", "30") == []


def test_overrides_without_effect_on_some_stages_are_warnings(tmp_path: Path) -> None:
    (warning,) = check(tmp_path, "SOLVER.BASE_LR", "0.1")
    assert "SOLVER.BASE_LR 0.1" in warning and "STAGES.groups.SOLVER.BASE_LR" in warning and "base" not in warning


@pytest.mark.parametrize(
    ("key", "stages", "message"),
    [
        ("SOLVER.MAX_ITER", BOTH, r"STAGES\.base\.SOLVER\.MAX_ITER, STAGES\.groups\.SOLVER\.MAX_ITER"),
        ("SOLVER.BASE_LR", ("groups",), r"STAGES\.groups\.SOLVER\.BASE_LR"),  # inference is by the last stage
        (
            "STAGES.groupz.SOLVER.MAX_ITER",
            BOTH,
            r"'groupz'.*; did you mean `STAGES\.groups\.SOLVER\.MAX_ITER`\?",
        ),
        ("STAGES.more.SOLVER.MAX_ITER", BOTH, r"'more'.* base, groups$"),
    ],
)
def test_overrides_without_effect_are_refused(tmp_path: Path, key: str, stages: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^command line: {key}.*{message}"):
        check(tmp_path, key, "0.1" if key.endswith("LR") else "4", stages=stages)
