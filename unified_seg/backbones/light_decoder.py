"""ResNet with a light decoder: the features of an HRNet at stride 4 from a network that is faster than a dilated one.

Source: Hsiao et al., Specialize and Fuse, 5.1.2: each stage of a standard ResNet gets fewer channels, and HRNet's
fusion joins them. The widths are those of HRNet-W48, whose sum is the paper's D = 720.
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
    """The ResNet of MODEL.RESNETS under the decoder of MODEL.LIGHT_DECODER; its features are d2 to d5."""
    decoder = cfg.MODEL.LIGHT_DECODER
    return LightDecoder(build_resnet_backbone(cfg, input_shape), widths=decoder.WIDTHS, norm=decoder.NORM)


class LightDecoder(Backbone):
    """Reduces the stages of a network, fuses them, and names what comes out d2, d3 ... as FPN has p2, p3 ...

    Args:
        bottom_up: gives maps of which each has half the size of the one before.
        widths: channels of the decoded maps, from fine to coarse.
        norm: a name that Detectron2's `get_norm` knows.

    Raises:
        ValueError: another number of widths than of maps, or maps whose strides don't double.
    """

    def __init__(self, bottom_up: Backbone, *, widths: Sequence[int], norm: str = "GN"):
        super().__init__()
        shapes = sorted(bottom_up.output_shape().items(), key=lambda item: item[1].stride)
        strides = [shape.stride for _, shape in shapes]
        if len(widths) != len(shapes):
            raise ValueError(f"MODEL.LIGHT_DECODER.WIDTHS: {len(widths)} widths for {', '.join(n for n, _ in shapes)}")
        if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
            raise ValueError(f"the light decoder needs features whose strides double, got {strides}")
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
        """Of the coarsest map: sizes must halve without a rest."""
        return max(shape.stride for shape in self._shapes.values())

    def output_shape(self) -> dict[str, ShapeSpec]:
        return dict(self._shapes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> the decoded maps by name."""
        features = self.bottom_up(x)
        reduced = [reduce(features[name]) for name, reduce in zip(self.in_features, self.reductions)]
        return dict(zip(self._shapes, self.fusion(reduced)))
