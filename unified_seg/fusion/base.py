"""The registry of panoptic fusions, and their base class."""

from dataclasses import dataclass
from typing import ClassVar

from detectron2.config import CfgNode
from detectron2.structures import Instances
from detectron2.utils.registry import Registry
from torch import Tensor

from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitEnsemble, LogitMap
from unified_seg.structures.panoptic_map import PanopticMap
from unified_seg.structures.soft_masks import SoftMasks

PANOPTIC_FUSION_REGISTRY = Registry("PANOPTIC_FUSION")
PANOPTIC_FUSION_REGISTRY.__doc__ = """
Fusions of a semantic map with instances: subclasses of `PanopticFusion`, built from `(cfg, class_table)`.
"""


@dataclass(frozen=True)
class FusionResult:
    """The fused outputs of one image.

    Attributes:
        panoptic: the panoptic map.
        labels: (H, W) integer, the refined semantic map; the given tensor itself if the fusion refines nothing.
        instances: the refined instances, or the given object itself; `pred_masks` is a BoxMasks.
    """

    panoptic: PanopticMap
    labels: Tensor
    instances: Instances


@dataclass(frozen=True)
class Probabilities:
    """How sure the two sources of a fusion are.

    Attributes:
        semantic: the logits whose argmax the labels are.
        masks: the soft masks of the instances.
    """

    semantic: LogitMap | LogitEnsemble
    masks: SoftMasks


class PanopticFusion:
    """Base of the fusions of a semantic map and instances."""

    #: Whether the fusion is called with `probabilities`.
    needs_probabilities: ClassVar[bool] = False

    def __call__(
        self, labels: Tensor, instances: Instances, probabilities: Probabilities | None = None
    ) -> FusionResult:
        """Fuse the semantic map and the instances of one image.

        Args:
            labels: (H, W) integer semantic ids.
            instances: `scores`, `pred_classes` (thing ids), `pred_boxes`, `pred_masks` (BoxMasks) at the size of
                `labels`; they are not changed.
            probabilities: of both; only a fusion that needs them is called with them, and may be called without.
        """
        raise NotImplementedError


def build_panoptic_fusion(cfg: CfgNode, class_table: ClassTable) -> PanopticFusion:
    """Build the fusion named MODEL.PANOPTIC_FUSION.NAME.

    Raises:
        ValueError: no fusion has this name; the message lists the known ones.
    """
    name = cfg.MODEL.PANOPTIC_FUSION.NAME
    known = sorted(known_name for known_name, _ in PANOPTIC_FUSION_REGISTRY)
    if name not in known:
        raise ValueError(f"MODEL.PANOPTIC_FUSION.NAME: unknown fusion {name!r}; known: {', '.join(known)}")
    return PANOPTIC_FUSION_REGISTRY.get(name)(cfg, class_table)
