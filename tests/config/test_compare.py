import yaml

from unified_seg.config import CfgNode, dump_config, find_changes, load_config, load_dump


def test_changes_since_an_earlier_run_are_listed() -> None:
    now = load_config("", ["SEED", "3", "DATASETS.TEST", "['a']", "STAGES.base.SOLVER.MAX_ITER", "31"])
    before = load_config("", ["DATASETS.TEST", "['a', 'b']", "STAGES.base.SOLVER.MAX_ITER", "30"])
    before.OF_AN_OLDER_VERSION = CfgNode({"KEY": 1})
    assert sorted(map(str, find_changes(before, now))) == [
        "DATASETS.TEST was ['a', 'b'], is ['a']",
        "SEED was -1, is 3",
        "STAGES.base.SOLVER.MAX_ITER was 30, is 31",
    ]
    assert find_changes(now, now) == []


def test_long_values_are_shortened() -> None:
    names = [f"dataset_{number}" for number in range(99)]
    before, now = (load_config("", ["DATASETS.TEST", str(value)]) for value in (names, [*names, "new"]))
    (change,) = map(str, find_changes(before, now))
    assert change.startswith("DATASETS.TEST has changed") and len(change) < 300


def test_damaged_dump_is_no_config() -> None:
    assert load_dump("SEED: 4\nDATASETS: {TEST: [a,") is None
    assert load_dump("") is None
    assert load_dump(load_config("", ["SEED", "3"]).dump()).SEED == 3


def test_dump_is_that_of_detectron2() -> None:
    texts = ["é 😀", "yes", "1e5", " lead", "a: b", "two\nlines", "word " * 60]
    cfg = load_config("", ["DATASETS.TEST", str(texts), "SOLVER.BASE_LR", "1e-5", "MODEL.WEIGHTS", "#x"])
    assert yaml.safe_load(dump_config(cfg)) == yaml.safe_load(cfg.dump())
