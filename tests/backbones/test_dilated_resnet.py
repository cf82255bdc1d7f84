import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone
from detectron2.modeling.backbone import ResNet, build_resnet_backbone
from detectron2.modeling.backbone.resnet import DeformBottleneckBlock
from torch import nn

from unified_seg.backbones import build_dilated_resnet_backbone
from unified_seg.backbones.dilated_resnet import dilate
from unified_seg.config import get_config

RGB = ShapeSpec(channels=3)


def config(depth: int, output_stride: int = 8) -> CfgNode:
    cfg = get_config()
    cfg.MODEL.BACKBONE.NAME = "build_dilated_resnet_backbone"
    cfg.MODEL.BACKBONE.OUTPUT_STRIDE = output_stride
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.RESNETS.DEPTH = depth
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.RESNETS.NORM = "BN"
    if depth < 50:
        cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    return cfg


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
@pytest.mark.parametrize(("output_stride", "strides"), [(8, (4, 8, 8, 8)), (16, (4, 8, 16, 16))])
def test_maps_have_the_declared_strides(depth: int, output_stride: int, strides: tuple[int, ...]) -> None:
    with torch.device("meta"), torch.no_grad():
        backbone = build_backbone(config(depth, output_stride)).eval()
        features = backbone(torch.zeros(1, 3, 64, 96))
    shape = backbone.output_shape()
    assert tuple(spec.stride for spec in shape.values()) == strides
    for name, spec in shape.items():
        assert features[name].shape == (1, spec.channels, 64 // spec.stride, 96 // spec.stride)


@pytest.mark.parametrize("depth", [18, 50])
def test_late_stages_are_dilated(depth: int) -> None:
    with torch.device("meta"):
        backbone = build_dilated_resnet_backbone(config(depth), RGB)
    for stage, dilation in (("res2", 1), ("res3", 1), ("res4", 2), ("res5", 4)):
        convs = [m for m in getattr(backbone, stage).modules() if isinstance(m, nn.Conv2d)]
        assert {c.dilation for c in convs if c.kernel_size == (3, 3)} == {(dilation, dilation)}
        assert {c.dilation for c in convs if c.kernel_size == (1, 1)} <= {(1, 1)}
        if dilation > 1:
            assert {c.stride for c in convs} == {(1, 1)}
    assert all(block.stride == 1 for stage in (backbone.res4, backbone.res5) for block in stage)


@pytest.mark.parametrize(("depth", "stride_in_1x1"), [(18, False), (50, False), (50, True)])
def test_dilated_network_equals_the_strided_one_at_its_positions(depth: int, stride_in_1x1: bool) -> None:
    """Yu and Koltun: a stage with dilation instead of its stride computes the strided stage at every offset.

    Layers after a convolution of stride 2 see every other position, so without the stride they must be dilated. The
    strided convolution itself need not be; the paper dilates it too if it is 3x3, which is undone here.
    """
    torch.manual_seed(0)
    cfg = config(depth, 16)
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = stride_in_1x1
    strided = build_resnet_backbone(cfg, RGB).eval()
    dilated = build_dilated_resnet_backbone(cfg, RGB).eval()
    dilated.load_state_dict(strided.state_dict())
    if not stride_in_1x1:
        first = dilated.res5[0].conv1 if depth == 18 else dilated.res5[0].conv2
        first.dilation = first.padding = (1, 1)
    x = torch.randn(1, 3, 128, 160)
    with torch.no_grad():
        expected, at_positions = strided(x)["res5"], dilated(x)["res5"][:, :, ::2, ::2]
    assert expected.shape == at_positions.shape
    torch.testing.assert_close(at_positions, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [18, 50])
def test_weights_have_detectron2s_names_and_shapes(depth: int) -> None:
    with torch.device("meta"):
        plain = build_resnet_backbone(config(depth), RGB).state_dict()
        dilated = build_dilated_resnet_backbone(config(depth), RGB).state_dict()
    assert {name: value.shape for name, value in dilated.items()} == {name: v.shape for name, v in plain.items()}


def test_frozen_stages_stay_frozen() -> None:
    cfg = config(50)
    cfg.MODEL.BACKBONE.FREEZE_AT = 2
    backbone = build_dilated_resnet_backbone(cfg, RGB)
    assert not any(p.requires_grad for p in backbone.res2.parameters())
    assert all(p.requires_grad for p in backbone.res4.parameters())


def test_network_without_the_last_stage_is_dilated() -> None:
    cfg = config(18)
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res4"]
    backbone = build_dilated_resnet_backbone(cfg, RGB)
    assert {name: spec.stride for name, spec in backbone.output_shape().items()} == {"res4": 8}


def test_invalid_configs_are_errors() -> None:
    with pytest.raises(ValueError, match=r"OUTPUT_STRIDE: .*got 4"):
        build_dilated_resnet_backbone(config(18, 4), RGB)
    cfg = config(50)
    cfg.MODEL.RESNETS.RES5_DILATION = 2
    with pytest.raises(ValueError, match=r"RES5_DILATION: must be 1"):
        build_dilated_resnet_backbone(cfg, RGB)
    # As DEFORM_ON_PER_STAGE would have it, which Detectron2's main refuses itself without its compiled part.
    resnet = build_resnet_backbone(config(50), RGB)
    resnet.res5[0].__class__ = DeformBottleneckBlock
    with pytest.raises(ValueError, match="DEFORM_ON_PER_STAGE"):
        dilate(resnet, 8)


def test_dilate_works_in_place() -> None:
    resnet = build_resnet_backbone(config(18), RGB)
    assert isinstance(resnet, ResNet) and dilate(resnet, 8) is resnet
