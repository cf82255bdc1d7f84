"""The confusion-weighted loss as a config asks for it, in every head."""

from pathlib import Path

import numpy as np
import pytest
import torch
from base_heads import BASES, CLASSES, SHAPES, make_inputs, make_targets, wrap
from detectron2.config import CfgNode
from torch import Tensor, nn

from unified_seg.heads import build_semantic_head
from unified_seg.heads.pixel_loss import PIXEL_LOSSES

NAMES = ["road", "car", "truck", "person", "rider"]
LAMBDA = "CONFUSION_LOSS: LAMBDA must be finite and at least 0"
MATRIX = r"CONFUSION_LOSS\.MATRIX: .*m\.npz"


@pytest.fixture
def config(tiny_config: CfgNode) -> CfgNode:
    """Confusion groups around an ASPRefinementHead."""
    cfg = wrap(tiny_config, "ConfusionGroupHead", "ASPRefinementHead")
    node = cfg.MODEL.SEM_SEG_HEAD
    node.CLASS_NAMES = NAMES
    node.CONFUSION_GROUPS.GROUPS, node.CONFUSION_GROUPS.DIM = [["car", "truck"], ["rider", "person"]], 16
    return cfg


def use_matrix(cfg: CfgNode, file: Path, matrix: np.ndarray, names: list[str] = NAMES) -> None:
    np.savez(file, confusion=matrix, class_names=names)
    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX = str(file)


@pytest.mark.parametrize("name", [*BASES, "ConfusionGroupHead", "ErrorCorrectionHead"])
def test_matrix_and_lambda_change_every_heads_own_loss(name: str, config: CfgNode, tmp_path: Path) -> None:
    """With the identity and lambda 0 the loss is cross-entropy."""
    node = config.MODEL.SEM_SEG_HEAD
    if name in BASES:
        wrap(config, "ConfusionGroupHead", name)
    node.NAME, node.ERROR_CORRECTION.BASE = name, "SemSegFPNHead"
    node.ERROR_CORRECTION.DETAIL_FEATURES = ["p4", "p3", "p2"]
    node.LOSS_TYPE = "cross_entropy"  # of DeepLabV3PlusHead, whose default is mining of hard pixels

    def compute_losses(weight: float) -> dict[str, float]:
        node.CONFUSION_LOSS.LAMBDA = weight
        torch.manual_seed(0)
        head = build_semantic_head(config, SHAPES).eval()
        losses = head.losses(head.predict(make_inputs()), make_targets())
        return {name: loss.item() for name, loss in losses.items()}

    plain = compute_losses(5.0)
    use_matrix(config, tmp_path / "m.npz", np.eye(CLASSES))
    assert compute_losses(0.0) == pytest.approx(plain, rel=1e-5)
    use_matrix(config, tmp_path / "m.npz", np.arange(1.0, 26).reshape(5, 5))
    weighted, lower = compute_losses(5.0), compute_losses(2.0)
    changed = {name for name in plain if weighted[name] != pytest.approx(plain[name], rel=1e-3)}
    assert all(lower[name] != pytest.approx(weighted[name], rel=1e-3) for name in changed)
    groups = {"loss_group_1", "loss_group_2"} if name == "ConfusionGroupHead" else set()
    assert changed == {"loss_sem_seg"} | groups


@pytest.mark.parametrize(
    ("names", "matrix", "weight", "message"),
    [
        (NAMES, np.eye(4), 5.0, rf"{MATRIX}: .* its 5 class_names, .*\(4, 4\)"),
        (NAMES[::-1], np.eye(5), 5.0, f"{MATRIX}: .*'rider' in the file, 'road' in the data set"),
        (NAMES[:4], np.eye(4), 5.0, f"{MATRIX}: .*4 in the file, 5 in the data set"),
        (NAMES, np.full((5, 5), np.nan), 5.0, f"{MATRIX}: .*no pixel"),
        (NAMES, -np.eye(5), 5.0, f"{MATRIX}: .*finite and at least 0"),
        (NAMES, np.eye(5), float("nan"), f"{LAMBDA}, got nan"),
        (NAMES, np.eye(5), float("inf"), f"{LAMBDA}, got inf"),
        (NAMES, np.eye(5), -1.0, f"{LAMBDA}, got -1"),
    ],
)
def test_invalid_matrices_and_weights_are_refused(
    config: CfgNode, tmp_path: Path, names: list[str], matrix: np.ndarray, weight: float, message: str
) -> None:
    use_matrix(config, tmp_path / "m.npz", matrix, names)
    config.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.LAMBDA = weight
    with pytest.raises(ValueError, match=message):
        build_semantic_head(config, SHAPES)


def test_matrix_must_have_as_many_classes_as_the_head(config: CfgNode, tmp_path: Path) -> None:
    use_matrix(config, tmp_path / "m.npz", np.eye(5))
    node = config.MODEL.SEM_SEG_HEAD
    node.NAME, node.CLASS_NAMES, node.NUM_CLASSES = "ASPRefinementHead", [], 6
    with pytest.raises(ValueError, match=rf"{MATRIX}: must have the head's 6 classes, got 5"):
        build_semantic_head(config, SHAPES)


def test_warning_names_classes_that_were_never_found(
    config: CfgNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No term of the loss raises their probability."""
    matrix = np.ones((5, 5))
    matrix[1, 1] = matrix[4, 4] = 0
    use_matrix(config, tmp_path / "m.npz", matrix)
    build_semantic_head(config, SHAPES)
    (message,) = (record.getMessage() for record in caplog.records if "m.npz" in record.getMessage())
    assert "car, rider" in message


@pytest.mark.parametrize("row", [0.0, np.nan])
def test_absent_classes_weigh_as_in_cross_entropy(config: CfgNode, tmp_path: Path, row: float) -> None:
    """Their row becomes one of the identity."""
    matrix = np.ones((5, 5))
    matrix[2] = row
    use_matrix(config, tmp_path / "m.npz", matrix)
    wrapper = build_semantic_head(config, SHAPES)
    weights = wrapper.base.pixel_loss.weights
    assert weights[2].tolist() == [0, 0, 1, 0, 0] and weights[1, 0] == pytest.approx(0.2)
    group_weights = wrapper.subnets[0].pixel_loss.weights  # others, car, truck
    assert group_weights[2].tolist() == [0, 0, 1]
    assert group_weights[1].tolist() == pytest.approx([3 / 5, 1 / 5, 1 / 5])
    assert not any("pixel_loss" in name for name in wrapper.state_dict())


class OtherLoss(nn.Module):
    """A second loss of PIXEL_LOSSES, chosen by every config."""

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "OtherLoss":
        return cls()

    def forward(self, logits: Tensor, targets: Tensor, ignore_value: int) -> Tensor:
        return logits.sum()


def test_config_that_asks_for_two_losses_is_refused(
    config: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PIXEL_LOSSES._obj_map, "OtherLoss", OtherLoss)
    config.MODEL.SEM_SEG_HEAD.NAME = "ASPRefinementHead"
    assert isinstance(build_semantic_head(config, SHAPES).pixel_loss, OtherLoss)
    use_matrix(config, tmp_path / "m.npz", np.eye(5))
    with pytest.raises(ValueError, match=r"one pixel loss .* ConfusionWeightedLoss, OtherLoss"):
        build_semantic_head(config, SHAPES)


def test_class_weights_that_are_still_to_be_counted_are_another_loss(config: CfgNode, tmp_path: Path) -> None:
    use_matrix(config, tmp_path / "m.npz", np.eye(5))
    config.MODEL.SEM_SEG_HEAD.LOSS.FREQUENCY_POWER = 0.5
    with pytest.raises(ValueError, match=r"one pixel loss .* LOSS\.FREQUENCY_POWER"):
        build_semantic_head(config, SHAPES)
