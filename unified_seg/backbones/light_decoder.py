"""ResNet with a light decoder: features like those of an HRNet, at stride 4, faster than a dilated ResNet.

Source: Hsiao et al., Specialize and Fuse (2021), section 5.1.2: 1x1 convolutions reduce the channels of each stage of
a ResNet, and HRNet's multi-resolution fusion exchanges information between them. The default widths are those of
HRNet-W48, whose sum is the paper's D = 720.
"""

from collections.abc import Sequence
from itertools import pairwise

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.modeling.backbone import build_resnet_backbone
from torch import Tensor, nn

from unified_seg.backbones.multi_resolution_fusion import MultiResolutionFusion
from unified_seg.layers.conv import conv_norm_relu


@BACKBONE_REGISTRY.register()
def build_light_decoder_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> "LightDecoder":
    """Build the ResNet of MODEL.RESNETS with the decoder of MODEL.LIGHT_DECODER; its features are d2 to d5."""
    decoder = cfg.MODEL.LIGHT_DECODER
    return LightDecoder(build_resnet_backbone(cfg, input_shape), widths=decoder.WIDTHS, norm=decoder.NORM)


class LightDecoder(Backbone):
    """A decoder that reduces and fuses the maps of a network; its features are d2, d3 ... like the p2, p3 ... of FPN.

    Args:
        bottom_up: a backbone whose maps each have half the size of the one before.
        widths: channels of the decoded maps, from fine to coarse.
        norm: a name for Detectron2's `get_norm`.

    Raises:
        ValueError: the number of widths differs from that of maps, or the strides of the maps do not double.
    """

    def __init__(self, bottom_up: Backbone, *, widths: Sequence[int], norm: str = "GN"):
        super().__init__()
        shapes = sorted(bottom_up.output_shape().items(), key=lambda item: item[1].stride)
        strides = [shape.stride for _, shape in shapes]
        if len(widths) != len(shapes):
            raise ValueError(
                f"MODEL.LIGHT_DECODER.WIDTHS: expected a width for each of {', '.join(n for n, _ in shapes)}, got "
                f"{len(widths)}"
            )
        if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
            raise ValueError(
                f"MODEL.RESNETS.OUT_FEATURES: the light decoder needs features whose strides double, got {strides}"
            )
        self.bottom_up = bottom_up
        self.in_features = [name for name, _ in shapes]
        self.reductions = nn.ModuleList(
            conv_norm_relu(shape.channels, width, 1, norm=norm) for (_, shape), width in zip(shapes, widths)
        )
        self.fusion = MultiResolutionFusion(widths, norm=norm)
        self._shapes = {
            f"d{stride.bit_length() - 1}": ShapeSpec(channels=width, stride=stride)
            for stride, width in zip(strides, widths)
        }

    @property
    def size_divisibility(self) -> int:
        """The stride of the coarsest map, so that every map has half the size of the one before."""
        return max(shape.stride for shape in self._shapes.values())

    def output_shape(self) -> dict[str, ShapeSpec]:
        return dict(self._shapes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the decoded maps of images (N, 3, H, W) by name."""
        features = self.bottom_up(x)
        reduced = [reduce(features[name]) for name, reduce in zip(self.in_features, self.reductions)]
        return dict(zip(self._shapes, self.fusion(reduced)))
