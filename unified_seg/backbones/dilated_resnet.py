"""ResNets of a smaller output stride: the late stages dilate their convolutions where others halve the map.

Source: Zhao et al., Pyramid Scene Parsing Network, 3.3 and 4 (after Yu and Koltun, and Chen et al.). The network is
Detectron2's, changed after it is built: its own RES5_DILATION knows no output stride 8, and its BasicBlock, of which
ResNet-18 and 34 are made, no dilation at all. Names and shapes of the weights stay, so ImageNet's fit.
"""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import ResNet, build_resnet_backbone
from detectron2.modeling.backbone.resnet import DeformBottleneckBlock
from torch import nn

OUTPUT_STRIDES = (8, 16)


@BACKBONE_REGISTRY.register()
def build_dilated_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """Detectron2's ResNet of MODEL.RESNETS at the output stride MODEL.BACKBONE.OUTPUT_STRIDE.

    Raises:
        ValueError: another output stride than 8 or 16; MODEL.RESNETS.RES5_DILATION or deformable convolutions too.
    """
    if cfg.MODEL.RESNETS.RES5_DILATION != 1:
        raise ValueError(
            "MODEL.RESNETS.RES5_DILATION: build_dilated_resnet_backbone sets the dilation by "
            "MODEL.BACKBONE.OUTPUT_STRIDE; leave RES5_DILATION at 1"
        )
    return dilate(build_resnet_backbone(cfg, input_shape), cfg.MODEL.BACKBONE.OUTPUT_STRIDE)


def dilate(resnet: ResNet, output_stride: int) -> ResNet:
    """Bring a ResNet of output stride 32 to a smaller one, in place.

    In the stages beyond the output stride every convolution moves by one pixel, and the 3x3 ones are dilated by what
    the stage's stride was too much: 2 and 4 in res4 and res5 for an output stride of 8.

    Args:
        resnet: as Detectron2 builds it, without dilation.
        output_stride: 8 or 16, input pixels per pixel of res5.

    Raises:
        ValueError: another output stride, or deformable convolutions.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"MODEL.BACKBONE.OUTPUT_STRIDE: {output_stride} is not one of {', '.join(map(str, OUTPUT_STRIDES))}"
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
        raise ValueError("MODEL.RESNETS.DEFORM_ON_PER_STAGE: deformable stages can't be dilated")
    block.stride = 1  # type: ignore[assignment]
    for conv in block.modules():
        if isinstance(conv, nn.Conv2d):
            conv.stride = (1, 1)
            if conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (dilation, dilation)
