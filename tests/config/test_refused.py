"""Keys that lead to unsafe code are refused when a config is read, wherever they are written."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from detectron2.config import CfgNode

from unified_seg.commands import analyze_model
from unified_seg.config import ConfigError, get_config, get_value, load_config, set_value
from unified_seg.config.reading import list_leaves
from unified_seg.config.refused import REFUSALS, check_refused
from unified_seg.data.pipeline.loaders import build_test_loader, build_train_loader
from unified_seg.data.resolve import resolve_config
from unified_seg_cli.commands import analyze_model as analyze_model_cli

VALUES: list[tuple[str, Any]] = [
    ("MODEL.LOAD_PROPOSALS", True),
    ("DATASETS.PROPOSAL_FILES_TRAIN", ("boxes.pkl",)),
    ("DATASETS.PROPOSAL_FILES_TEST", ("boxes.pkl",)),
    ("MODEL.WEIGHTS", "ftp://example.org/m.pth"),
    ("MODEL.WEIGHTS", "file:///tmp/m.pth"),
    ("MODEL.WEIGHTS", "manifold://bucket/m.pth"),
    ("OUTPUT_DIR", "https://example.org/output"),
    ("MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX", "http://example.org/m.npz"),
    ("MODEL.TIMM.NAME", "hf-hub:somebody/model"),
    ("MODEL.TIMM.NAME", "local-dir:/tmp/model"),
    ("MODEL.TIMM.NAME", "resnet18.tag:x"),
]
every_value = pytest.mark.parametrize(("key", "value"), VALUES)


class Harm:
    """Unpickling it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


def write_config(path: Path, key: str, value: Any) -> Path:
    for part in reversed(key.split(".")):
        value = {part: value}
    cfg = CfgNode(value)
    path.write_text(cfg.dump())
    return path


def test_every_refused_key_has_a_case() -> None:
    assert {key for key, _ in VALUES} == set(REFUSALS)


def test_every_refused_key_exists_and_its_default_is_accepted() -> None:
    cfg = get_config()
    assert set(REFUSALS) <= {key for key, _ in list_leaves(cfg)}
    check_refused(cfg)


@every_value
def test_refused_value_in_a_file_is_named(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=key):
        load_config(write_config(tmp_path / "a.yaml", key, value))


@every_value
def test_refused_value_on_the_command_line_is_named(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        load_config("", [key, str(value)])


@every_value
def test_refused_value_of_a_stage_is_named(key: str, value: Any) -> None:
    if key != "OUTPUT_DIR":  # no key of a stage
        with pytest.raises(ConfigError, match=rf"STAGES\.a\.{key}"):
            load_config("", [f"STAGES.a.{key}", str(value)])
    with pytest.raises(ConfigError, match=r"STAGES\.a\.RESULT"):
        load_config("", ["STAGES.a.RESULT", "ftp://example.org/m.pth"])


@every_value
def test_config_that_detectron2_read_is_refused_too(key: str, value: Any) -> None:
    cfg = get_config()
    set_value(cfg, key, value)
    with pytest.raises(ConfigError, match=key):
        resolve_config(cfg)


def poisoned(cfg: CfgNode, path: Path) -> Path:
    """Let the proposals of a config be a file that harms; return the proof of it."""
    proof = path / "proof"
    (path / "boxes.pkl").write_bytes(pickle.dumps(Harm(proof)))
    cfg.MODEL.LOAD_PROPOSALS = True
    cfg.DATASETS.PROPOSAL_FILES_TRAIN = cfg.DATASETS.PROPOSAL_FILES_TEST = (str(path / "boxes.pkl"),)
    return proof


@pytest.mark.parametrize("build", [lambda cfg: build_test_loader(cfg, cfg.DATASETS.TEST[0]), build_train_loader])
def test_loaders_unpickle_no_proposals(build: Any, tiny_dataset: Any, tmp_path: Path) -> None:
    cfg = get_config()
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (tiny_dataset.train,), (tiny_dataset.val,)
    proof = poisoned(cfg, tmp_path)
    with pytest.raises(ConfigError, match=r"MODEL\.LOAD_PROPOSALS"):
        build(cfg)
    assert not proof.exists()


def test_analyze_model_unpickles_no_proposals(tiny_dataset: Any, tmp_path: Path) -> None:
    cfg = get_config()
    proof = poisoned(cfg, tmp_path)
    words = ["DATASETS.TRAIN", f"('{tiny_dataset.train}',)", "DATASETS.TEST", f"('{tiny_dataset.val}',)"]
    for key in ("MODEL.LOAD_PROPOSALS", "DATASETS.PROPOSAL_FILES_TEST"):
        words += [key, str(get_value(cfg, key))]
    (tmp_path / "empty.yaml").touch()
    args = analyze_model_cli.parse_args(
        ["--config-file", str(tmp_path / "empty.yaml"), "--tasks", "flop", "--opts", *words]
    )
    with pytest.raises(ConfigError, match=r"MODEL\.LOAD_PROPOSALS"):
        analyze_model.run(args)
    assert not proof.exists()
