"""Semantic heads; importing registers them."""

# Registers DeepLabV3PlusHead.
import detectron2.projects.deeplab  # noqa: F401

from unified_seg.heads.asp_refinement import ASPRefinementHead
from unified_seg.heads.base import EarlierPrediction, SemanticHead, SemanticPrediction
from unified_seg.heads.build import build_semantic_head, semantic_head_names
from unified_seg.heads.confusion_groups import ConfusionGroupHead
from unified_seg.heads.dense_prediction_cell import DPCHead
from unified_seg.heads.error_correction import ErrorCorrectionHead
from unified_seg.heads.inputs import HeadInputs
from unified_seg.heads.options import HeadOptions
from unified_seg.heads.psp import PSPHead
from unified_seg.heads.pyramidal_output import PyramidalOutputHead
from unified_seg.heads.weighted_loss import WeightedCrossEntropy
from unified_seg.heads.wrapper import WrapperHead, WrapperPrediction

__all__ = [
    "ASPRefinementHead",
    "ConfusionGroupHead",
    "DPCHead",
    "EarlierPrediction",
    "ErrorCorrectionHead",
    "HeadInputs",
    "HeadOptions",
    "PSPHead",
    "PyramidalOutputHead",
    "SemanticHead",
    "SemanticPrediction",
    "WeightedCrossEntropy",
    "WrapperHead",
    "WrapperPrediction",
    "build_semantic_head",
    "semantic_head_names",
]
