"""A panoptic segmentation."""

from dataclasses import dataclass

from torch import Tensor

from unified_seg_arrays.fusion.steps import SegmentsInfo

__all__ = ["PanopticMap", "SegmentsInfo"]


@dataclass(frozen=True)
class PanopticMap:
    """The segments of an image, as Detectron2 describes them.

    Attributes:
        ids: (H, W) int32, the segment of each pixel, 0 = void.
        segments_info: one dict per segment: id, category_id (thing id or semantic id), isthing, area in pixels, and
            for things score and instance_id, the index of the instance that the segment comes from.
    """

    ids: Tensor
    segments_info: SegmentsInfo
