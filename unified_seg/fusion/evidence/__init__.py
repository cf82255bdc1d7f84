"""The fusion by evidence: at each pixel whoever is surer wins, the masks or the semantic map."""

from unified_seg.fusion.evidence.fusion import fuse_by_evidence
from unified_seg.fusion.evidence.inputs import SemanticEvidence

__all__ = ["SemanticEvidence", "fuse_by_evidence"]
