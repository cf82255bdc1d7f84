"""The fusion by evidence: each pixel goes to the source with the larger log-odds, a mask or the semantic map."""

from unified_seg.fusion.evidence.fusion import fuse_by_evidence
from unified_seg.fusion.evidence.inputs import SemanticEvidence

__all__ = ["SemanticEvidence", "fuse_by_evidence"]
