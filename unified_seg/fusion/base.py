"""The registry of panoptic fusions and what they have in common."""

from dataclasses import dataclass

from detectron2.config import CfgNode
from detectron2.structures import Instances
from detectron2.utils.registry import Registry
from torch import Tensor

from unified_seg.fusion.panoptic import PanopticMap
from unified_seg.structures.class_table import ClassTable

PANOPTIC_FUSION_REGISTRY = Registry("PANOPTIC_FUSION")
PANOPTIC_FUSION_REGISTRY.__doc__ = """
Fusions of a semantic map with instances: subclasses of `PanopticFusion`, built from `(cfg, class_table)`.
"""


@dataclass
class FusionResult:
    """What a fusion makes of one image.

    Attributes:
        panoptic: the panoptic map.
        labels: (H, W) integer, the refined semantic map; the very tensor that was given where nothing is refined.
        instances: the refined instances, likewise; `pred_masks` is a BoxMasks.
    """

    panoptic: PanopticMap
    labels: Tensor
    instances: Instances


class PanopticFusion:
    """Base of the fusions: joins one image's semantic map and instances."""

    def __call__(self, labels: Tensor, instances: Instances) -> FusionResult:
        """Fuse.

        Args:
            labels: (H, W) integer semantic ids.
            instances: `scores`, `pred_classes` (thing ids), `pred_boxes`, `pred_masks` (BoxMasks) at the size of
                `labels`; left as they are.
        """
        raise NotImplementedError


def build_panoptic_fusion(cfg: CfgNode, class_table: ClassTable) -> PanopticFusion:
    """The fusion named MODEL.PANOPTIC_FUSION.NAME.

    Raises:
        ValueError: no fusion of that name; the message lists the known ones.
    """
    name = cfg.MODEL.PANOPTIC_FUSION.NAME
    known = sorted(known_name for known_name, _ in PANOPTIC_FUSION_REGISTRY)
    if name not in known:
        raise ValueError(f"MODEL.PANOPTIC_FUSION.NAME: there is no fusion {name!r}; known: {', '.join(known)}")
    return PANOPTIC_FUSION_REGISTRY.get(name)(cfg, class_table)
