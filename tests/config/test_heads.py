"""What the registered heads declare, as the rest of the library asks for it."""

from detectron2.config import CfgNode

from unified_seg.config import get_config
from unified_seg.config.heads import (
    ablation_metrics,
    earlier_predictions,
    nested_heads,
    registered_heads,
    score_tables,
    training_keys,
    wrapper_nodes,
)

WRAPPERS = {"ConfusionGroupHead": "CONFUSION_GROUPS", "ErrorCorrectionHead": "ERROR_CORRECTION"}


def config(name: str, **bases: str) -> CfgNode:
    cfg = get_config()
    head = cfg.MODEL.SEM_SEG_HEAD
    head.NAME = name
    for node, base in bases.items():
        head[node].BASE = base
    return cfg


def test_registered_heads_are_those_that_declare_something() -> None:
    assert {"ASPRefinementHead", *WRAPPERS} <= registered_heads().keys()
    assert "SemSegFPNHead" not in registered_heads()


def test_nested_heads_go_from_the_outermost_to_the_base() -> None:
    nested = nested_heads(
        config("ErrorCorrectionHead", ERROR_CORRECTION="ConfusionGroupHead", CONFUSION_GROUPS="PSPHead")
    )
    assert list(nested) == ["ErrorCorrectionHead", "ConfusionGroupHead", "PSPHead"]
    assert nested["PSPHead"] is registered_heads()["PSPHead"]


def test_nested_heads_end_at_heads_that_declare_nothing() -> None:
    assert list(nested_heads(config("ConfusionGroupHead", CONFUSION_GROUPS="SemSegFPNHead"))) == ["ConfusionGroupHead"]
    assert nested_heads(config("")) == {}


def test_nested_heads_end_at_a_cycle() -> None:
    cycle = {"ERROR_CORRECTION": "ConfusionGroupHead", "CONFUSION_GROUPS": "ErrorCorrectionHead"}
    assert list(nested_heads(config("ErrorCorrectionHead", **cycle))) == ["ErrorCorrectionHead", "ConfusionGroupHead"]


def test_declarations_of_wrappers() -> None:
    assert WRAPPERS.items() <= wrapper_nodes().items()
    assert {"ungrouped": "subnets", "uncorrected": "correction"}.items() <= earlier_predictions().items()
    assert {"SOLVER.TRAIN_PARTS", "MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX"} <= set(training_keys())
    assert {"levels", "errors"} <= score_tables().keys()
    assert ablation_metrics()["hard_recall"] == ("errors", "hard_recall", "hard recall")


def test_keys_of_every_head_are_in_the_config() -> None:
    head = get_config().MODEL.SEM_SEG_HEAD
    assert all(kind.config_node in head for kind in registered_heads().values() if kind.config_node)
