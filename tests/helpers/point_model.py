"""A semantic model that reads one pixel per cell of its logits, so that its prediction is the same in any window."""

from typing import Any

import torch
from detectron2.data import MetadataCatalog
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import Tensor, nn

from unified_seg.heads import SemanticHead
from unified_seg.heads.base import SemanticPrediction
from unified_seg.heads.inputs import Features, HeadInputs
from unified_seg.meta_arch import UnifiedSegmentor
from unified_seg.structures.class_table import ClassTable

STRIDE = 4
DIVISIBILITY = 8
CLASSES = 19


class PointBackbone(Backbone):
    """Attributes: `seen`, the heights and widths of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, CLASSES, 1, stride=STRIDE)
        nn.init.normal_(self.conv.weight, std=1.0)
        self.seen: list[tuple[int, int]] = []

    @property
    def size_divisibility(self) -> int:
        return DIVISIBILITY

    def forward(self, x: Tensor) -> Features:
        self.seen.append((x.shape[-2], x.shape[-1]))
        return {"point": self.conv(x)}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"point": ShapeSpec(channels=CLASSES, stride=STRIDE)}


class PointHead(SemanticHead):
    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        return SemanticPrediction(inputs.features["point"])


class ImageHead(SemanticHead):
    """A head with the same predictions, computed from the image itself."""

    def __init__(self, conv: nn.Conv2d, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.conv = conv

    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        return SemanticPrediction(self.conv(inputs.image))


def point_model(seed: int = 0, reads_image: bool = False, **arguments: Any) -> UnifiedSegmentor:
    torch.manual_seed(seed)
    backbone = PointBackbone()
    contract = {"num_classes": CLASSES, "ignore_value": 255, "common_stride": STRIDE}
    return UnifiedSegmentor(
        backbone=backbone,
        sem_seg_head=ImageHead(backbone.conv, **contract) if reads_image else PointHead(**contract),
        class_table=ClassTable.from_metadata(MetadataCatalog.get("unified_cityscapes_val")),
        pixel_mean=(100.0, 110.0, 120.0),
        pixel_std=(30.0, 31.0, 32.0),
        **arguments,
    ).eval()


def random_image(height: int, width: int, seed: int = 0) -> Tensor:
    """(3, height, width) uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
