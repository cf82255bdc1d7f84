import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from unified_seg.config import ConfigError
from unified_seg.heads import build_semantic_head
from unified_seg.heads.pixel_loss import build_pixel_loss
from unified_seg.heads.weighted_loss import WeightedCrossEntropy
from unified_seg.meta_arch import build_model
from unified_seg.ops.losses import dice_loss, mean_cross_entropy, weighted_cross_entropy

CLASSES, IGNORE = 3, 255
SHAPES = {f"p{level}": ShapeSpec(channels=32, stride=2**level) for level in range(2, 6)}


@pytest.fixture
def cfg(tiny_config: CfgNode) -> CfgNode:
    tiny_config.MODEL.SEM_SEG_HEAD.NUM_CLASSES = CLASSES
    return tiny_config


def test_defaults_are_cross_entropy(cfg: CfgNode) -> None:
    assert build_pixel_loss(cfg) is mean_cross_entropy


def test_keys_reach_the_loss_of_a_head(cfg: CfgNode) -> None:
    loss = cfg.MODEL.SEM_SEG_HEAD.LOSS
    loss.CLASS_WEIGHTS, loss.FOCUS, loss.HARD_SHARE = [1.0, 0.5, 4.0], 2.0, 0.25
    head = build_semantic_head(cfg, SHAPES)
    logits, targets = torch.randn(2, CLASSES, 8, 8), torch.randint(0, CLASSES, (2, 8, 8))
    weights = torch.tensor([1.0, 0.5, 4.0])
    expected = weighted_cross_entropy(logits, targets, IGNORE, class_weights=weights, focus=2.0, hard_share=0.25)
    torch.testing.assert_close(head.pixel_loss(logits, targets, IGNORE), expected)
    assert not any("class_weights" in name for name in head.state_dict())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("CLASS_WEIGHTS", [1.0, 2.0]),
        ("CLASS_WEIGHTS", [1.0, -1.0, 1.0]),
        ("CLASS_WEIGHTS", [0.0, 0.0, 0.0]),
        ("CLASS_WEIGHTS", [1.0, float("nan"), 1.0]),
        ("FOCUS", -1.0),
        ("HARD_SHARE", 1.5),
        ("DICE", -1.0),
        ("UNDO_WEIGHTS", 0.5),  # of no weights
    ],
)
def test_invalid_values_name_the_key(cfg: CfgNode, key: str, value: object) -> None:
    cfg.MODEL.SEM_SEG_HEAD.LOSS[key] = value
    with pytest.raises(ValueError, match=key):
        build_pixel_loss(cfg)


def test_two_losses_are_an_error(cfg: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unified_seg.heads.confusion_groups.loss.read_configured_confusion", lambda _: torch.eye(3))
    cfg.MODEL.SEM_SEG_HEAD.LOSS.FOCUS = 2.0
    with pytest.raises(ValueError, match=r"ConfusionWeightedLoss.*WeightedCrossEntropy"):
        build_pixel_loss(cfg)


def test_other_meta_architectures_refuse_the_keys(cfg: CfgNode) -> None:
    cfg.MODEL.META_ARCHITECTURE = "PanopticFPN"
    cfg.MODEL.SEM_SEG_HEAD.LOSS.FOCUS = 2.0
    with pytest.raises(ConfigError, match="FOCUS"):
        build_model(cfg)


def test_dice_is_added_with_its_weight(cfg: CfgNode) -> None:
    cfg.MODEL.SEM_SEG_HEAD.LOSS.DICE = 0.5
    logits, targets = torch.randn(2, CLASSES, 8, 8), torch.randint(0, CLASSES, (2, 8, 8))
    expected = mean_cross_entropy(logits, targets, IGNORE) + 0.5 * dice_loss(logits, targets, IGNORE)
    torch.testing.assert_close(build_pixel_loss(cfg)(logits, targets, IGNORE), expected)


def test_dice_is_of_the_predictions_without_the_offsets() -> None:
    # Odds of 1 : 1 : 2 for a pixel of class 2, so p = 1/2: 1 - 2 * 1/2 / (1/4 + 1) = 1/5.
    logits, targets = torch.tensor([1.0, 1.0, 2.0]).log()[None, :, None, None], torch.tensor([[[2]]])
    with_dice, without = (
        WeightedCrossEntropy([0.5, 1.0, 3.0], undo_weights=1.0, dice=dice)(logits, targets, IGNORE)
        for dice in (1.0, 0.0)
    )
    torch.testing.assert_close(with_dice - without, torch.tensor(1 / 5))


def test_no_weights_are_all_one() -> None:
    logits, targets = torch.randn(1, CLASSES, 4, 4), torch.randint(0, CLASSES, (1, 4, 4))
    loss = WeightedCrossEntropy()(logits, targets, IGNORE)
    torch.testing.assert_close(loss, mean_cross_entropy(logits, targets, IGNORE))


@pytest.mark.parametrize("undo", [0.0, 0.5, 1.0])
def test_weights_are_undone_in_the_predictions(undo: float) -> None:
    # Of ten pixels with the same logits z, class i has 10 p_i. Their loss is, but for a factor,
    # sum_i p_i w_i * -log softmax(z + u log w)_i. Its gradient is 0 where softmax(z + u log w) is p_i w_i, but for a
    # factor: where softmax(z) is p_i w_i ** (1 - u).
    counts, weights = torch.tensor([6, 3, 1]), torch.tensor([0.5, 1.0, 3.0])
    targets = torch.arange(CLASSES).repeat_interleave(counts)[None, None]
    pixel = (counts / 10 * weights ** (1 - undo)).log().requires_grad_()
    logits = pixel[None, :, None, None].expand(1, CLASSES, 1, 10)
    WeightedCrossEntropy(weights.tolist(), undo_weights=undo)(logits, targets, IGNORE).backward()
    torch.testing.assert_close(pixel.grad, torch.zeros(CLASSES))


def test_class_of_weight_0_has_no_offset() -> None:
    # Of zeros the offsets 0, log 1 and log 2 make odds of 1 : 1 : 2. A pixel of class 0 counts for nothing.
    loss = WeightedCrossEntropy([0.0, 1.0, 2.0], undo_weights=1.0)(
        torch.zeros(1, CLASSES, 1, 2), torch.tensor([[[1, 0]]]), IGNORE
    )
    torch.testing.assert_close(loss, torch.tensor(4.0).log())


def test_more_than_the_weights_cannot_be_undone() -> None:
    with pytest.raises(ValueError, match="UNDO_WEIGHTS"):
        WeightedCrossEntropy([1.0, 2.0, 3.0], undo_weights=1.5)
