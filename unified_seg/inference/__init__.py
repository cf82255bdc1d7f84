"""Predictions of a trained model."""

from unified_seg.inference.augmentation import AugmentedSegmentor, add_test_augmentation
from unified_seg.inference.predictor import Predictor

__all__ = ["AugmentedSegmentor", "Predictor", "add_test_augmentation"]
