from pathlib import Path

from unified_seg.config import CfgNode, describe_changes, load_config


def test_changes_since_an_earlier_run_are_listed(tmp_path: Path) -> None:
    now = load_config("", ["SEED", "3", "DATASETS.TEST", "['a']", "STAGES.base.SOLVER.MAX_ITER", "31"])
    before = load_config("", ["DATASETS.TEST", "['a', 'b']", "STAGES.base.SOLVER.MAX_ITER", "30"])
    before.OF_AN_OLDER_VERSION = CfgNode({"KEY": 1})
    (tmp_path / "config.yaml").write_text(before.dump())
    assert sorted(describe_changes(tmp_path / "config.yaml", now)) == [
        "DATASETS.TEST was ['a', 'b'], is ['a']",
        "SEED was -1, is 3",
        "STAGES.base.SOLVER.MAX_ITER was 30, is 31",
    ]


def test_equal_absent_and_damaged_files_have_no_changes(tmp_path: Path) -> None:
    file, now = tmp_path / "config.yaml", load_config("", ["SEED", "3"])
    assert describe_changes(file, now) == []
    for text in ("SEED: 4\nDATASETS: {TEST: [a,", now.dump()):
        file.write_text(text)
        assert describe_changes(file, now) == []
