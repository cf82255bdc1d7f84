"""Stages in config files: the keys that they set, and the configs that result."""

import json
from pathlib import Path

import pytest
from detectron2.config import CfgNode
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.config import ConfigError, get_config, load_config, make_inference_config, read_stages
from unified_seg.config.stages import num_skipped_stages

TWO = """
MODEL: {WEIGHTS: start.pth}
SOLVER: {STAGES: [base, error], MAX_ITER: 9, BASE_LR: 0.5}
STAGES:
  base: {}
  error:
    SOLVER: {MAX_ITER: 3, TRAIN_PARTS: [sem_seg_head]}
    DATASETS: {TEST: [a, b]}
OUTPUT_DIR: out
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def load(folder: Path, text: str, *overrides: str) -> CfgNode:
    file = folder / "run.yaml"
    file.write_text(text)
    return load_config(file, overrides)


def as_json(cfg: CfgNode) -> str:
    """Without the difference of lists and tuples inside others, which yaml does not know."""
    return json.dumps(cfg, sort_keys=True)


def test_stage_is_the_config_with_its_keys(folder: Path) -> None:
    cfg = load(folder, TWO)
    base, error = read_stages(cfg)
    assert (base.name, base.result, error.name, error.result) == ("base", "", "error", "")

    expected = load(folder, TWO.split("STAGES:\n")[0])
    expected.SOLVER.STAGES = []
    expected.OUTPUT_DIR = "out/base"
    assert as_json(base.config) == as_json(expected)

    expected.SOLVER.MAX_ITER, expected.SOLVER.TRAIN_PARTS = 3, ["sem_seg_head"]
    expected.DATASETS.TEST, expected.MODEL.WEIGHTS = ("a", "b"), "out/base/model_final.pth"
    expected.OUTPUT_DIR = "out"
    assert as_json(error.config) == as_json(expected)
    assert isinstance(error.config.DATASETS.TEST, tuple)
    assert cfg.SOLVER.MAX_ITER == 9 and base.config.is_frozen()


def test_stage_holds_only_the_keys_that_were_set(folder: Path) -> None:
    assert load(folder, TWO).STAGES == {
        "base": {},
        "error": {"SOLVER": {"MAX_ITER": 3, "TRAIN_PARTS": ["sem_seg_head"]}, "DATASETS": {"TEST": ("a", "b")}},
    }
    assert get_config().STAGES == {}


def test_command_line_sets_keys_that_the_file_lacks(folder: Path) -> None:
    words = ["STAGES.error.SOLVER.BASE_LR", "0.25", "STAGES.error.SOLVER.MAX_ITER", "4", "SOLVER.MAX_ITER", "8"]
    words += ["STAGES.more.SOLVER.MAX_ITER", "5", "SOLVER.STAGES", "['base', 'error', 'more']"]
    stages = read_stages(load(folder, TWO, *words))
    assert [stage.config.SOLVER.MAX_ITER for stage in stages] == [8, 4, 5]
    assert [stage.config.SOLVER.BASE_LR for stage in stages] == [0.5, 0.25, 0.5]
    assert [stage.config.OUTPUT_DIR for stage in stages] == ["out/base", "out/error", "out"]


def test_next_stage_starts_from_a_result(folder: Path) -> None:
    assert num_skipped_stages(read_stages(load(folder, TWO))) == 0
    base, error = read_stages(load(folder, TWO, "STAGES.base.RESULT", "other.pth"))
    assert base.result == error.config.MODEL.WEIGHTS == "other.pth"
    assert base.config.MODEL.WEIGHTS == "start.pth"
    assert num_skipped_stages([base, error]) == 1


def test_bases_merge_key_by_key(folder: Path) -> None:
    (folder / "base.yaml").write_text(TWO)
    cfg = load(folder, "_BASE_: base.yaml\nSTAGES: {error: {SOLVER: {MAX_ITER: 5}}, base: {SEED: 2}}")
    assert cfg.STAGES.error.SOLVER == {"MAX_ITER": 5, "TRAIN_PARTS": ["sem_seg_head"]}
    assert cfg.STAGES.base == {"SEED": 2}


def test_numbers_of_yaml_name_stages(folder: Path) -> None:
    cfg = load(folder, "SOLVER: {STAGES: [1]}\nSTAGES: {1: {SOLVER: {MAX_ITER: 3}}}")
    (stage,) = read_stages(cfg)
    assert (stage.name, stage.config.SOLVER.MAX_ITER) == ("1", 3)


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "SOLVER.MAX_ITER": st.integers(1, 9),
        "SOLVER.STEPS": st.lists(st.integers(1, 9), max_size=2).map(tuple),
        "MODEL.WEIGHTS": st.sampled_from(["", "a.pth", "it's", "0x"]),
        "MODEL.SEM_SEG_HEAD.NAME": st.sampled_from(["", "PSPHead"]),
        "DATASETS.TRAIN": st.lists(st.sampled_from(["a", "b"])).map(tuple),
        "RESULT": st.sampled_from(["", "b.pth"]),
    },
)


@settings(deadline=None, max_examples=6)
@given(st.dictionaries(st.sampled_from(["a", "b", "2nd", "on"]), VALUES))
def test_dumped_config_is_read_again(tmp_path_factory: pytest.TempPathFactory, stages: dict) -> None:
    words = [str(word) for name, values in stages.items() for key, value in values.items()
             for word in (f"STAGES.{name}.{key}", value)]  # fmt: skip
    cfg = load_config("", words)
    file = tmp_path_factory.mktemp("dump") / "config.yaml"
    file.write_text(cfg.dump())
    assert as_json(load_config(file)) == as_json(cfg)


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("STAGES.a.SOLVER.BASE_RL", "1", r"; did you mean `STAGES\.a\.SOLVER\.BASE_LR`\?"),
        ("STAGES.a.RESULTS", "x", r"; did you mean `STAGES\.a\.RESULT`\?"),
        ("STAGES.a.NOTHING_LIKE_IT", "x", ""),
        ("STAGES.a.SEED.B", "1", ""),
        ("STAGES.a.SOLVER.MAX_ITER", "many", ""),
        ("STAGES.a.RESULT", "None", ""),
        ("STAGES.a.SOLVER", "5", ""),
        ("STAGES.a", "5", ""),
        ("STAGES.a.STAGES.b.SEED", "5", r": STAGES\.b\.SEED belongs to the whole run"),
        ("STAGES.a.SOLVER.STAGES", "[]", r": SOLVER\.STAGES belongs to the whole run"),
        ("STAGES.a.OUTPUT_DIR", "x", ": OUTPUT_DIR belongs to the whole run"),
        ("STAGES.a.CUDNN_BENCHMARK", "True", ": CUDNN_BENCHMARK belongs to the whole run"),
    ],
)
def test_keys_that_no_stage_has_are_refused(folder: Path, key: str, value: str, hint: str) -> None:
    node = value
    for part in reversed(key.split(".")):
        node = f"{{{part}: {node}}}"
    with pytest.raises(ConfigError, match=rf"command line: .*{key}.*{hint}"):
        load_config("", [key, value])
    with pytest.raises(ConfigError, match=rf"run\.yaml: .*{key}.*{hint}"):
        load(folder, node)


def test_stage_without_keys_and_values_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml: .*STAGES\.base"):
        load(folder, "STAGES:\n  base:\n")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["SOLVER.STAGES", "['base', 'eror']"], r"SOLVER\.STAGES: .*STAGES\.eror; known: base, error"),
        (["SOLVER.STAGES", "[['base']]"], r"SOLVER\.STAGES: .*STAGES\.\['base'\]"),
        (["SOLVER.STAGES", "['base', 'error', 'base']"], r"SOLVER\.STAGES: base "),
        (["SOLVER.STAGES", "['inference']", "STAGES.inference.SEED", "1"], r"SOLVER\.STAGES: .*inference"),
        (["SOLVER.STAGES", "['a/b']", "STAGES.a/b.SEED", "1"], r"SOLVER\.STAGES: 'a/b'"),
        (["SOLVER.STAGES", "['']", "STAGES..SEED", "1"], r"SOLVER\.STAGES: ''"),
        (["STAGES.error.RESULT", "x.pth"], r"STAGES\.error\.RESULT: .*nothing to train"),
        (["STAGES.bass.RESULT", "x.pth"], r"STAGES\.bass\.RESULT: .*SOLVER\.STAGES has base, error"),
        (["STAGES.error.MODEL.WEIGHTS", "x.pth"], r"STAGES\.error\.MODEL\.WEIGHTS: .*STAGES\.base\.RESULT"),
    ],
)
def test_impossible_stages_are_refused(folder: Path, overrides: list[str], message: str) -> None:
    cfg = load(folder, TWO, *overrides)
    for read in (read_stages, make_inference_config):
        with pytest.raises(ConfigError, match=message):
            read(cfg)


def test_inference_config_is_the_last_stage_with_the_weights_given(folder: Path) -> None:
    cfg = load(folder, TWO, "MODEL.WEIGHTS", "mine.pth")
    final = make_inference_config(cfg)
    assert (final.SOLVER.MAX_ITER, final.MODEL.WEIGHTS, final.OUTPUT_DIR) == (3, "mine.pth", "out")
    assert final.SOLVER.STAGES == [] and final.STAGES == {} and final.SOLVER.TRAIN_PARTS == []
    assert make_inference_config(final) is final
    assert read_stages(final) == []


def test_inference_needs_no_files_of_a_loss(folder: Path) -> None:
    cfg = load(folder, "MODEL: {SEM_SEG_HEAD: {CONFUSION_LOSS: {MATRIX: sem_seg.npz}}}")
    assert make_inference_config(cfg).MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX == ""
