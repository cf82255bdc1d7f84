"""The fusion by evidence: the log-odds of masks and of the semantic map are added at each pixel."""

from unified_seg.fusion.evidence.fusion import fuse_by_evidence
from unified_seg.fusion.evidence.inputs import SemanticEvidence

__all__ = ["SemanticEvidence", "fuse_by_evidence"]
