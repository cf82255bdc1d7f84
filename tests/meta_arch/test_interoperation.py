"""Heads of this project in Detectron2's meta-architectures, and Detectron2's head in UnifiedSegmentor."""

from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from detectron2.modeling.meta_arch import PanopticFPN, SemanticSegmentor
from model_parts import without_detector
from torch import nn

from unified_seg.data.pipeline.mapper import UnifiedMapper
from unified_seg.data.resolve import resolve_config
from unified_seg.heads import ASPRefinementHead
from unified_seg.meta_arch import UnifiedSegmentor


def build(cfg: CfgNode, architecture: str) -> nn.Module:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = architecture
    cfg.MODEL.UNIFIED.MEMORY_FORMAT = "contiguous"  # as Detectron2's models, to the last bit
    torch.manual_seed(0)
    return build_model(resolve_config(cfg))


def batches(cfg: CfgNode) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    train, test = UnifiedMapper(cfg, True), UnifiedMapper(cfg, False)
    return (
        [train(r) for r in DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[:2]],
        [test(r) for r in DatasetCatalog.get(cfg.DATASETS.TEST[0])],
    )


@pytest.mark.parametrize("architecture", ["PanopticFPN", "SemanticSegmentor"])
def test_own_head_trains_and_predicts_in_detectron2s_models(architecture: str, tiny_config: CfgNode) -> None:
    model = build(tiny_config, architecture)
    assert isinstance(model, PanopticFPN if architecture == "PanopticFPN" else SemanticSegmentor)
    assert isinstance(model.sem_seg_head, ASPRefinementHead)
    train, test = batches(tiny_config)
    losses = model.train()(train)
    assert losses["loss_sem_seg"] > 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.sem_seg_head.parameters())
    with torch.no_grad():
        outputs = model.eval()(test)
    assert all(output["sem_seg"].shape == (19, 64, 128) for output in outputs)
    assert all(("panoptic_seg" in output) == (architecture == "PanopticFPN") for output in outputs)


@pytest.mark.parametrize("head", ["SemSegFPNHead", "ASPRefinementHead"])
def test_weights_of_a_panoptic_fpn_give_the_same_predictions(head: str, tiny_config: CfgNode) -> None:
    tiny_config.MODEL.SEM_SEG_HEAD.NAME = head
    tiny_config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    peer, model = build(tiny_config, "PanopticFPN"), build(tiny_config, "UnifiedSegmentor")
    assert isinstance(model, UnifiedSegmentor)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)
    assert set(model.state_dict()) == set(peer.state_dict())
    model.load_state_dict(peer.state_dict())
    _, test = batches(tiny_config)
    with torch.no_grad():
        expected, outputs = peer.eval()(test), model.eval()(test)
    for output, other in zip(outputs, expected, strict=True):
        # At the input's own size Detectron2's two resizes are one.
        torch.testing.assert_close(output["sem_seg"], other["sem_seg"], rtol=0, atol=1e-4)
        assert len(output["instances"]) == len(other["instances"]) > 0
        for field in ("pred_masks", "scores", "pred_classes"):
            assert torch.equal(output["instances"].get(field), other["instances"].get(field)), field
        assert torch.equal(output["instances"].pred_boxes.tensor, other["instances"].pred_boxes.tensor)


def test_losses_equal_those_of_panoptic_fpn(tiny_config: CfgNode) -> None:
    tiny_config.MODEL.SEM_SEG_HEAD.NAME = "SemSegFPNHead"
    peer, model = build(tiny_config, "PanopticFPN"), build(tiny_config, "UnifiedSegmentor")
    model.load_state_dict(peer.state_dict())
    train, _ = batches(tiny_config)
    torch.manual_seed(1)  # the detector samples anchors and proposals
    expected = peer.train()(train)
    torch.manual_seed(1)
    losses = model.train()(train)
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])


def test_detectron2s_head_trains_in_unified_segmentor(tiny_config: CfgNode) -> None:
    tiny_config.MODEL.SEM_SEG_HEAD.NAME = "SemSegFPNHead"
    without_detector(tiny_config)
    model = build(tiny_config, "UnifiedSegmentor")
    train, test = batches(tiny_config)
    losses = model.train()(train)
    assert losses.keys() == {"loss_sem_seg"}
    losses["loss_sem_seg"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        assert model.eval()(test)[0]["sem_seg"].shape == (19, 64, 128)
