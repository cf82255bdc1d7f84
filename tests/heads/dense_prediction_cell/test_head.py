from typing import Any

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.config import get_config
from unified_seg.heads import DPCHead, HeadInputs, HeadOptions, build_semantic_head
from unified_seg.heads.dense_prediction_cell.cell import DensePredictionCell

RES = {"res2": ShapeSpec(channels=8, stride=4), "res5": ShapeSpec(channels=16, stride=8)}


def build(**options: Any) -> DPCHead:
    torch.manual_seed(0)
    common = {name: options.pop(name) for name in ("common_stride", "norm") & options.keys()}
    return DPCHead(HeadOptions(RES, num_classes=7, conv_dim=32, **common), **{"branch_dim": 8, **options})


def features(images: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(images, shape.channels, 64 // shape.stride, 96 // shape.stride, generator=generator)
        for name, shape in RES.items()
    }


def test_prediction_equals_deeplab_with_the_cell() -> None:
    head, maps = build().eval(), features()
    prediction = head.predict(HeadInputs(maps))
    fine, (cell, join) = head.levels
    assert isinstance(cell, DensePredictionCell) and cell.out_channels == 40
    assert (join.kernel_size, join.in_channels, join.out_channels) == ((1, 1), 40, 32)
    context = join(cell(maps["res5"]))
    feature = torch.cat([fine(maps["res2"]), F.interpolate(context, size=(16, 24), mode="bilinear")], dim=1)
    assert torch.equal(prediction.context, context) and torch.equal(prediction.feature, feature)
    logits = F.conv2d(feature, head.classifier.weight, head.classifier.bias)
    torch.testing.assert_close(prediction.logits, logits, rtol=1e-4, atol=1e-6)


def test_coarsest_feature_can_be_used_alone() -> None:
    head = DPCHead(HeadOptions({"res5": RES["res5"]}, num_classes=3, common_stride=8, conv_dim=8), branch_dim=4)
    prediction = head.eval().predict(HeadInputs(features()))
    assert prediction.logits.shape == (2, 3, 8, 12)
    assert torch.equal(prediction.context, prediction.feature)


def test_dropout_acts_in_training_on_the_logits_only() -> None:
    head, maps = build(dropout=0.5), features()
    assert not torch.equal(head.predict(HeadInputs(maps)).logits, head.predict(HeadInputs(maps)).logits)
    # The feature for wrappers is without dropout.
    assert torch.equal(head.predict(HeadInputs(maps)).feature, head.eval().predict(HeadInputs(maps)).feature)
    assert torch.equal(head.predict(HeadInputs(maps)).logits, head.predict(HeadInputs(maps)).logits)


@pytest.mark.parametrize("norm", ["GN", "BN", "SyncBN"])
def test_every_norm_trains_at_batch_size_one(norm: str) -> None:
    head, targets = build(norm=norm), torch.zeros(1, 64, 96, dtype=torch.int64)
    sum(head.losses(head.predict(HeadInputs(features(1))), targets).values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_config_keys_set_the_options() -> None:
    cfg = get_config()
    node = cfg.MODEL.SEM_SEG_HEAD
    assert node.DPC == {"BRANCH_DIM": 256, "DROPOUT": 0.1}
    node.NAME, node.NUM_CLASSES, node.IGNORE_VALUE, node.LOSS_WEIGHT = "DPCHead", 9, 250, 0.25
    node.IN_FEATURES, node.COMMON_STRIDE, node.CONVS_DIM, node.NORM = ["res5"], 8, 64, "BN"
    node.DPC.BRANCH_DIM, node.DPC.DROPOUT = 12, 0.25
    head = build_semantic_head(cfg, RES)
    assert isinstance(head, DPCHead)
    assert (head.num_classes, head.ignore_value, head.loss_weight, head.common_stride) == (9, 250, 0.25, 8)
    ((cell, join),) = head.levels
    assert (cell.out_channels, join.out_channels, head.dropout.p) == (60, 64, 0.25)
    assert isinstance(join.norm, nn.BatchNorm2d) and isinstance(cell.branches[0][0].norm, nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, r"MODEL\.SEM_SEG_HEAD\.DPC\.DROPOUT must be in \[0, 1\), got 1"),
        ({"branch_dim": 0}, r"MODEL\.SEM_SEG_HEAD\.DPC\.BRANCH_DIM must be 1 or more, got 0"),
        ({"norm": "GNN"}, r"MODEL\.SEM_SEG_HEAD\.DPC: unknown norm 'GNN'"),
        ({"common_stride": 8}, "COMMON_STRIDE must be .* finest feature, 4, got 8"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)
