"""Using a trained model."""

from unified_seg.inference.augmentation import AugmentedSegmentor, with_augmentation
from unified_seg.inference.predictor import Predictor

__all__ = ["AugmentedSegmentor", "Predictor", "with_augmentation"]
