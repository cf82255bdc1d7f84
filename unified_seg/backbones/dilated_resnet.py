"""Dilated ResNets: the late stages dilate their convolutions instead of halving the map.

Source: Zhao et al., Pyramid Scene Parsing Network (2017), sections 3.3 and 4, after Yu and Koltun (2016). The network
is Detectron2's, changed after it is built: its RES5_DILATION does not support output stride 8, and its BasicBlock (of
ResNet-18 and 34) no dilation. Names and shapes of the weights do not change, so ImageNet weights load.
"""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import ResNet, build_resnet_backbone
from detectron2.modeling.backbone.resnet import DeformBottleneckBlock
from torch import nn

from unified_seg.hints import format_hint

OUTPUT_STRIDES = (8, 16)


@BACKBONE_REGISTRY.register()
def build_dilated_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """Build Detectron2's ResNet of MODEL.RESNETS with the output stride MODEL.BACKBONE.OUTPUT_STRIDE.

    Raises:
        ValueError: the output stride is not 8 or 16, or MODEL.RESNETS has a dilation or deformable convolutions.
    """
    if cfg.MODEL.RESNETS.RES5_DILATION != 1:
        stride = OUTPUT_STRIDES[1] if cfg.MODEL.RESNETS.RES5_DILATION == 2 else OUTPUT_STRIDES[0]
        instead = format_hint("MODEL.RESNETS.RES5_DILATION", 1, "MODEL.BACKBONE.OUTPUT_STRIDE", stride)
        raise ValueError(
            f"MODEL.RESNETS.RES5_DILATION: must be 1 for build_dilated_resnet_backbone, got "
            f"{cfg.MODEL.RESNETS.RES5_DILATION}; set {instead}"
        )
    return dilate(build_resnet_backbone(cfg, input_shape), cfg.MODEL.BACKBONE.OUTPUT_STRIDE)


def dilate(resnet: ResNet, output_stride: int) -> ResNet:
    """Reduce the output stride of a ResNet in place.

    In the stages beyond the output stride every convolution has stride 1, and the 3x3 ones are dilated by the ratio of
    the stage's former stride to the output stride: 2 in res4 and 4 in res5 for an output stride of 8.

    Args:
        resnet: as built by Detectron2, without dilation.
        output_stride: 8 or 16, input pixels per pixel of res5.

    Raises:
        ValueError: the output stride is not 8 or 16, or a stage has deformable convolutions.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"MODEL.BACKBONE.OUTPUT_STRIDE: must be one of {', '.join(map(str, OUTPUT_STRIDES))}, got {output_stride}"
        )
    for name, stage in zip(resnet.stage_names, resnet.stages):
        stride = resnet._out_feature_strides[name]
        if stride > output_stride:
            for block in stage:
                _dilate_block(block, stride // output_stride)
            resnet._out_feature_strides[name] = output_stride
    return resnet


def _dilate_block(block: nn.Module, dilation: int) -> None:
    if isinstance(block, DeformBottleneckBlock):
        raise ValueError("MODEL.RESNETS.DEFORM_ON_PER_STAGE: deformable stages cannot be dilated")
    block.stride = 1  # type: ignore[assignment]
    for conv in block.modules():
        if isinstance(conv, nn.Conv2d):
            conv.stride = (1, 1)
            if conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (dilation, dilation)
