import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone

from unified_seg.backbones import LightDecoder
from unified_seg.config import get_config


def config() -> CfgNode:
    cfg = get_config()
    cfg.MODEL.BACKBONE.NAME = "build_light_decoder_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.RESNETS.DEPTH = 18
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    return cfg


def test_shapes_are_those_of_hrnet_w48() -> None:
    backbone = build_backbone(config())
    shape = backbone.output_shape()
    assert {name: (s.channels, s.stride) for name, s in shape.items()} == {
        "d2": (48, 4), "d3": (96, 8), "d4": (192, 16), "d5": (384, 32),
    }  # fmt: skip
    assert sum(s.channels for s in shape.values()) == 720  # the paper's D
    assert backbone.size_divisibility == 32
    with torch.no_grad():
        maps = backbone.eval()(torch.randn(1, 3, 64, 96))
    assert {n: tuple(m.shape) for n, m in maps.items()} == {
        n: (1, s.channels, 64 // s.stride, 96 // s.stride) for n, s in shape.items()
    }


def test_every_parameter_gets_a_gradient() -> None:
    cfg = config()
    cfg.MODEL.LIGHT_DECODER.WIDTHS, cfg.MODEL.LIGHT_DECODER.NORM = [8, 16, 16, 32], "BN"
    cfg.MODEL.RESNETS.NORM = "BN"
    backbone = build_backbone(cfg)
    sum(m.square().sum() for m in backbone(torch.randn(2, 3, 64, 64)).values()).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_invalid_configs_are_errors() -> None:
    cfg = config()
    cfg.MODEL.LIGHT_DECODER.WIDTHS = [48, 96, 192]
    with pytest.raises(ValueError, match=r"WIDTHS: .*res2, res3, res4, res5, got 3"):
        build_backbone(cfg)
    cfg = config()
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res5"]
    cfg.MODEL.LIGHT_DECODER.WIDTHS = [48, 96]
    with pytest.raises(ValueError, match=r"strides double, got \[4, 32\]"):
        build_backbone(cfg)


def test_resnet_is_named_bottom_up_as_in_fpn() -> None:
    """By this name frozen statistics and the learning rate of new layers find the pretrained part."""
    backbone = build_backbone(config())
    assert isinstance(backbone, LightDecoder)
    assert backbone.bottom_up.output_shape()["res5"] == ShapeSpec(channels=512, stride=32)
