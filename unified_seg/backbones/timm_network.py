"""Networks of timm, such as HRNet, as Detectron2 backbones."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from torch import Tensor

from unified_seg.hints import format_hint

# By stride, the names of Detectron2's ResNets.
NAMES = {4: "res2", 8: "res3", 16: "res4", 32: "res5"}
# The last is that of a network without dilation.
OUTPUT_STRIDES = (8, 16, 32)


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> "TimmNetwork":
    """Build the network MODEL.TIMM.NAME; its features are res2 to res5, of strides 4 to OUTPUT_STRIDE."""
    timm = cfg.MODEL.TIMM
    # A checkpoint contains the backbone's weights: loading it must not need access to the internet.
    pretrained = timm.PRETRAINED and not cfg.MODEL.WEIGHTS
    return TimmNetwork(
        timm.NAME,
        pretrained=pretrained,
        in_channels=input_shape.channels,
        norm=timm.NORM,
        output_stride=timm.OUTPUT_STRIDE,
    )


@BACKBONE_REGISTRY.register()
def build_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """Build an FPN on the network MODEL.TIMM.NAME, for Mask R-CNN; its features are p2 to p6.

    Raises:
        ValueError: the network is dilated, so its maps do not each have half the size of the one before.
    """
    output_stride = cfg.MODEL.TIMM.OUTPUT_STRIDE
    if output_stride != OUTPUT_STRIDES[-1]:
        raise ValueError(
            f"MODEL.TIMM.OUTPUT_STRIDE: must be {OUTPUT_STRIDES[-1]} for an FPN, got {output_stride}; a dilated "
            "network is MODEL.BACKBONE.NAME build_timm_backbone, without an FPN"
        )
    return FPN(
        bottom_up=build_timm_backbone(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


class TimmNetwork(Backbone):
    """The feature maps of a timm network at strides 4 to 32, or 4 to `output_stride`.

    Those of HRNet are its four branches, without its classification head.

    Args:
        name: of a timm model that supports `features_only`: "hrnet_w18", "hrnet_w32", "hrnet_w48", "resnet50" ...
        pretrained: load timm's weights from the internet or from timm's cache. They expect RGB input, see
            configs/base/imagenet_r50.yaml.
        in_channels: of the input.
        norm: "BN", or "SyncBN" for statistics over all processes.
        output_stride: 8, 16 or 32, input pixels per pixel of the last map. Below 32 the convolutions of the late stages
            are dilated instead of halving the map; the maps keep their names.

    Raises:
        ValueError: timm is not installed, has no such network, or gives no such features of it; or the norm or the
            output stride is unknown.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        in_channels: int = 3,
        norm: str = "BN",
        output_stride: int = OUTPUT_STRIDES[-1],
    ):
        super().__init__()
        if output_stride not in OUTPUT_STRIDES:
            raise ValueError(
                f"MODEL.TIMM.OUTPUT_STRIDE: must be one of {', '.join(map(str, OUTPUT_STRIDES))}, got {output_stride}"
            )
        if norm not in ("BN", "SyncBN"):
            raise ValueError(f"MODEL.TIMM.NORM: must be BN or SyncBN, got {norm!r}")
        try:
            import timm
        except ImportError:
            raise ValueError(
                f"MODEL.TIMM.NAME: {name} needs timm; run {format_hint('pip', 'install', 'timm')}"
            ) from None
        if name.split(".")[0] not in timm.list_models():
            close = ", ".join(timm.list_models(f"{name.split('_')[0]}*")[:8]) or "see timm.list_models()"
            raise ValueError(f"MODEL.TIMM.NAME: timm has no {name!r}; {close}")
        # The branches of HRNet, not the output of its classification head, which has four times their channels.
        options: dict[str, Any] = {"feature_location": ""} if name.startswith("hrnet") else {}
        is_dilated = output_stride != OUTPUT_STRIDES[-1]
        if is_dilated:
            options["output_stride"] = output_stride
        try:
            self.network = timm.create_model(
                name, pretrained=pretrained, features_only=True, in_chans=in_channels, **options
            )
        except AssertionError:  # of networks without this option, such as HRNet
            raise ValueError(f"MODEL.TIMM.OUTPUT_STRIDE: {name} can't be dilated, it must be 32") from None
        except (AttributeError, RuntimeError, TypeError) as error:
            raise ValueError(f"MODEL.TIMM.NAME: {name} does not support features_only: {error}") from None
        if norm == "SyncBN":
            self.network = timm.layers.convert_sync_batchnorm(self.network)
        info: Any = self.network.feature_info
        strides: list[int] = info.reduction()
        # Without dilation, each map has half the size of the one before.
        undilated = [strides[0] << index for index in range(len(strides))] if is_dilated else strides
        if is_dilated and [min(stride, output_stride) for stride in undilated] != strides:
            raise ValueError(f"MODEL.TIMM.OUTPUT_STRIDE: {name} can't be dilated, it must be 32")
        self._shapes = {
            NAMES[before]: ShapeSpec(channels=channels, stride=stride)
            for channels, stride, before in zip(info.channels(), strides, undilated)
            if before in NAMES
        }
        self._positions = [index for index, stride in enumerate(undilated) if stride in NAMES]
        if not self._shapes:
            raise ValueError(f"MODEL.TIMM.NAME: {name} has no feature of stride {', '.join(map(str, NAMES))}")
        # Some transformers have several maps of one stride, others have their channels last.
        if len(self._positions) > len(self._shapes) or getattr(self.network, "output_fmt", None) == "NHWC":
            raise ValueError(f"MODEL.TIMM.NAME: {name} does not have one feature map (N, C, H, W) for each stride")

    @property
    def size_divisibility(self) -> int:
        """The stride of the coarsest map, so that each branch of HRNet has half the size of the one before."""
        return max(shape.stride for shape in self._shapes.values())

    def output_shape(self) -> dict[str, ShapeSpec]:
        return dict(self._shapes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the feature maps of images (N, C, H, W) by name."""
        maps = self.network(x)
        return {name: maps[position] for name, position in zip(self._shapes, self._positions)}
