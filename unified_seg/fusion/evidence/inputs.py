"""What the fusion by evidence reads: the semantic map with its confidence, and soft masks as arrays.

(H, W) = the image.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from unified_seg.ops.levels import LEVELS
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitEnsemble, LogitMap
from unified_seg.structures.soft_masks import SoftMasks
from unified_seg_arrays.fusion.evidence import EvidenceMaps
from unified_seg_arrays.fusion.evidence_weights import group_classes
from unified_seg_arrays.fusion.steps import WindowMasks


@dataclass(frozen=True)
class SemanticEvidence:
    """A semantic map with confidences.

    Attributes:
        labels: (H, W) integer semantic ids, or the table's ignore label.
        confidences: (H, W) uint8, the probability p of the label's class as the level floor(256 p), at most 255.
        category_confidences: (H, W) uint8, likewise of all classes of the label's category; for stuff, of all stuff.
        cell: the side in pixels of what the map resolves: the stride of its head in pixels of this image.
    """

    labels: Tensor
    confidences: Tensor
    category_confidences: Tensor
    cell: float

    @classmethod
    def from_map(cls, map: LogitMap | LogitEnsemble, labels: Tensor, table: ClassTable) -> Self:
        """Read the confidence of labels (H, W) that are those of the map."""
        confidences, category_confidences = map.levels(labels, torch.from_numpy(group_classes(table)))
        return cls(labels, confidences, category_confidences, map.find_cell((labels.shape[0], labels.shape[1])))

    @classmethod
    def from_labels(cls, labels: Tensor) -> Self:
        """Return a map of labels (H, W) that is certain everywhere, and resolves single pixels."""
        certain = torch.full_like(labels, LEVELS - 1, dtype=torch.uint8)
        return cls(labels, certain, certain, 1.0)

    def to_arrays(self) -> EvidenceMaps:
        """Return the maps, which are on the CPU, as arrays."""
        maps = (self.labels, self.confidences, self.category_confidences)
        return EvidenceMaps(*(map.contiguous().numpy() for map in maps))


def to_level_arrays(masks: SoftMasks) -> WindowMasks:
    """Return soft masks, which are on the CPU, as arrays."""
    return WindowMasks(masks.windows.numpy(), [masks.levels(index).numpy() for index in range(len(masks))])
