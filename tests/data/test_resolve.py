"""Resolving a config: classes counted, data sets registered, stages expanded, each once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg.config import ConfigError, load_config
from unified_seg.data.resolve import resolve_config, resolve_stages

OTHER = "unified_test_other_classes"


@pytest.fixture
def other() -> Iterator[str]:
    """A data set of two classes, one of them a thing, with ignore label 200."""
    DatasetCatalog.register(OTHER, lambda: [])
    MetadataCatalog.get(OTHER).set(stuff_classes=["grass", "cow"], thing_classes=["cow"], ignore_label=200)
    yield OTHER
    DatasetCatalog.remove(OTHER)
    MetadataCatalog.remove(OTHER)


@pytest.fixture
def staged(tiny_config: CfgNode) -> CfgNode:
    """Two stages; the second freezes a part and has a loss that needs a file."""
    last = {"SOLVER": {"TRAIN_PARTS": ["backbone"]}, "MODEL": {"SEM_SEG_HEAD": {"CONFUSION_LOSS": {"MATRIX": "x.npz"}}}}
    tiny_config.SOLVER.STAGES, tiny_config.STAGES = ["first", "last"], CfgNode({"first": {}, "last": last})
    tiny_config.MODEL.WEIGHTS = "mine.pth"
    return tiny_config


def counts(cfg: CfgNode) -> tuple[int, int, int]:
    head = cfg.MODEL.SEM_SEG_HEAD
    return head.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES, head.IGNORE_VALUE


@pytest.mark.parametrize("frozen", [False, True])
def test_heads_get_the_classes_of_the_training_set(frozen: bool, tiny_config: CfgNode, other: str) -> None:
    assert counts(resolve_config(tiny_config)) == (19, 8, 255)
    tiny_config.DATASETS.TRAIN = tiny_config.DATASETS.TEST = (other,)
    if frozen:
        tiny_config.freeze()
    resolved = resolve_config(tiny_config)
    assert counts(resolved) == (2, 1, 200) and resolved.MODEL.SEM_SEG_HEAD.CLASS_NAMES == ["grass", "cow"]
    # The caller's config stays as it is.
    assert counts(tiny_config) == (54, 80, 255) and resolved.is_frozen() and tiny_config.is_frozen() == frozen


def test_resolved_config_is_returned_as_it_is(tiny_config: CfgNode, staged: CfgNode) -> None:
    resolved = resolve_config(tiny_config)
    assert resolve_config(resolved) is resolved
    final = resolve_config(staged, for_inference=True)
    assert resolve_config(final) is final and resolve_config(final, for_inference=True) is final
    stages = resolve_stages(resolve_config(staged))
    assert all(resolve_config(stage.config) is stage.config for stage in stages)


def test_changed_data_sets_are_resolved_anew(tiny_config: CfgNode, other: str) -> None:
    cfg = resolve_config(tiny_config).clone()
    cfg.defrost()
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (other,)
    assert counts(resolve_config(cfg)) == (2, 1, 200)


def test_written_config_is_resolved_again_in_a_new_process(tiny_config: CfgNode, other: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(resolve_config(tiny_config).dump())
    cfg = load_config(tmp_path / "config.yaml", ["DATASETS.TEST", f"['{other}']"])
    with pytest.raises(ConfigError, match=r"DATASETS\.TEST.*different classes"):
        resolve_config(cfg)


def test_inference_config_is_the_last_stage_without_what_trains(staged: CfgNode) -> None:
    final = resolve_config(staged, for_inference=True)
    assert counts(final) == (19, 8, 255)
    assert (final.SOLVER.STAGES, final.STAGES, final.SOLVER.TRAIN_PARTS) == ([], {}, [])
    assert (final.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX, final.MODEL.WEIGHTS) == ("", "mine.pth")


def test_stages_have_the_classes_of_their_data_sets(staged: CfgNode, other: str) -> None:
    staged.STAGES["first"].DATASETS = CfgNode({"TRAIN": (other,), "TEST": ()})
    assert [counts(stage.config) for stage in resolve_stages(resolve_config(staged))] == [(2, 1, 200), (19, 8, 255)]
    staged.STAGES["first"].DATASETS.TRAIN = ("unified_nowhere",)
    with pytest.raises(ConfigError, match=r"stage first: DATASETS\.TRAIN: .*unified_nowhere"):
        resolve_stages(staged)


def test_data_sets_with_different_classes_are_an_error(tiny_config: CfgNode, other: str) -> None:
    tiny_config.DATASETS.TEST = (other,)
    with pytest.raises(ConfigError, match=f"DATASETS.*'unified_test_streets_train' and '{other}'"):
        resolve_config(tiny_config)


def test_no_training_set_is_an_error(tiny_config: CfgNode) -> None:
    tiny_config.DATASETS.TRAIN = ()
    with pytest.raises(ConfigError, match=r"DATASETS\.TRAIN"):
        resolve_config(tiny_config)
