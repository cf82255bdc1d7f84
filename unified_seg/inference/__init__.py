"""Using a trained model."""

from unified_seg.inference.predictor import Predictor

__all__ = ["Predictor"]
