import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.config import get_config
from unified_seg.heads import DPCHead, build_semantic_head
from unified_seg.heads.dense_prediction_cell.layers import DensePredictionCell

RES = {"res2": ShapeSpec(channels=8, stride=4), "res5": ShapeSpec(channels=16, stride=8)}


def build(**options: object) -> DPCHead:
    torch.manual_seed(0)
    given = {"num_classes": 7, "conv_dim": 32, "branch_dim": 8, **options}
    return DPCHead(RES, **given)  # type: ignore[arg-type]


def features(images: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(images, shape.channels, 64 // shape.stride, 96 // shape.stride, generator=generator)
        for name, shape in RES.items()
    }


def test_step_by_step() -> None:
    head, maps = build().eval(), features()
    prediction = head.predict(maps)
    fine, (cell, join) = head.levels
    assert isinstance(cell, DensePredictionCell) and cell.out_channels == 40
    assert (join.kernel_size, join.in_channels, join.out_channels) == ((1, 1), 40, 32)
    context = join(cell(maps["res5"]))
    feature = torch.cat([fine(maps["res2"]), F.interpolate(context, size=(16, 24), mode="bilinear")], dim=1)
    assert torch.equal(prediction.context, context) and torch.equal(prediction.feature, feature)
    logits = F.conv2d(feature, head.classifier.weight, head.classifier.bias)
    torch.testing.assert_close(prediction.logits, logits, rtol=1e-4, atol=1e-6)


def test_on_the_coarsest_feature_alone() -> None:
    head = DPCHead({"res5": RES["res5"]}, num_classes=3, common_stride=8, conv_dim=8, branch_dim=4)
    prediction = head.eval().predict(features())
    assert prediction.logits.shape == (2, 3, 8, 12)
    assert torch.equal(prediction.context, prediction.feature)


def test_dropout_acts_in_training_alone() -> None:
    head, maps = build(dropout=0.5), features()
    assert not torch.equal(head.predict(maps).logits, head.predict(maps).logits)
    # What it hands on to others is whole.
    assert torch.equal(head.predict(maps).feature, head.eval().predict(maps).feature)
    assert torch.equal(head.predict(maps).logits, head.predict(maps).logits)


@pytest.mark.parametrize("norm", ["GN", "BN", "SyncBN"])
def test_trains_at_batch_size_one(norm: str) -> None:
    head, targets = build(norm=norm), torch.zeros(1, 64, 96, dtype=torch.int64)
    sum(head.losses(head.predict(features(1)), targets).values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_every_key_of_the_config_arrives() -> None:
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
        ({"dropout": 1.0}, r"MODEL\.SEM_SEG_HEAD\.DPC\.DROPOUT must be 0 to 1, without 1, got 1"),
        ({"branch_dim": 0}, r"MODEL\.SEM_SEG_HEAD\.DPC\.BRANCH_DIM must be 1 or more, got 0"),
        ({"norm": "GNN"}, r"MODEL\.SEM_SEG_HEAD\.DPC: unknown norm 'GNN'"),
        ({"common_stride": 8}, "set MODEL.SEM_SEG_HEAD.COMMON_STRIDE to 4"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)
