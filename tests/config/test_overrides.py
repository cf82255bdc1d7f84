"""What a command line says that nothing would hear."""

from pathlib import Path

import pytest

from unified_seg.config import CfgNode, ConfigError, changed_since, check_overrides, load_config

CONFIG = """
SOLVER: {STAGES: [base, groups], MAX_ITER: 9}
STAGES:
  base: {SOLVER: {MAX_ITER: 30}}
  groups: {SOLVER: {MAX_ITER: 15, BASE_LR: 0.5}}
  more: {SOLVER: {MAX_ITER: 2}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def check(file: Path, *overrides: str, stages: tuple[str, ...] = ("base", "groups")) -> list[str]:
    return check_overrides(load_config(file, overrides), overrides, stages)


def test_keys_that_are_heard(file: Path) -> None:
    assert check(file) == []
    assert check(file, "SEED", "3", "STAGES.base.SOLVER.MAX_ITER", "4", "SOLVER.IMS_PER_BATCH", "2") == []
    # Without stages everything is; and a stage may say the same.
    assert check(file, "SOLVER.STAGES", "[]", "SOLVER.MAX_ITER", "4", stages=()) == []
    assert check(file, "SOLVER.MAX_ITER", "30", "STAGES.groups.SOLVER.MAX_ITER", "30") == []


def test_keys_that_some_stages_hear(file: Path) -> None:
    (message,) = check(file, "SOLVER.BASE_LR", "0.1")
    assert message == "SOLVER.BASE_LR 0.1 does not hold where STAGES.groups.SOLVER.BASE_LR does"


@pytest.mark.parametrize(
    ("overrides", "stages", "message"),
    [
        (
            ("SOLVER.MAX_ITER", "4"),
            ("base", "groups"),
            r"4 does not hold where STAGES\.base\.SOLVER\.M.*, STAGES\.groups\.S",
        ),
        # The model that answers is that of the last stage.
        (("SOLVER.BASE_LR", "0.1"), ("groups",), r"0\.1 does not hold where STAGES\.groups"),
        (
            ("STAGES.groupz.SOLVER.MAX_ITER", "4"),
            ("base", "groups"),
            r"groupz is none of SOLVER\.STAGES, base, groups; did you mean groups\?",
        ),
        (("STAGES.more.SOLVER.MAX_ITER", "4"), ("base", "groups"), r"more is none of SOLVER\.STAGES, base, groups$"),
    ],
)
def test_keys_that_nothing_hears(file: Path, overrides: tuple[str, ...], stages: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^command line: .*{message}"):
        check(file, *overrides, stages=stages)


def test_what_an_earlier_run_had_otherwise(file: Path, tmp_path: Path) -> None:
    now = load_config(file, ["SEED", "3", "DATASETS.TEST", "['a']", "STAGES.base.SOLVER.MAX_ITER", "31"])
    earlier = tmp_path / "earlier.yaml"
    assert changed_since(earlier, now) == []
    earlier.write_text("SEED: 4\nDATASETS: {TEST: [a,")  # cut off
    assert changed_since(earlier, now) == []
    earlier.write_text(now.dump())
    assert changed_since(earlier, now) == []
    before = load_config(file, ["DATASETS.TEST", "['a', 'b']"])
    before.OF_AN_OLDER_VERSION = CfgNode({"KEY": 1})
    earlier.write_text(before.dump())
    assert sorted(changed_since(earlier, now)) == [
        "DATASETS.TEST was ['a', 'b'], is ['a']",
        "SEED was -1, is 3",
        "STAGES.base.SOLVER.MAX_ITER was 30, is 31",
    ]
