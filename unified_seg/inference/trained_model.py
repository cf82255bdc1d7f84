"""The model of a config with trained weights, and what its checkpoint says of its input and its classes."""

from detectron2.config import CfgNode
from torch import nn

from unified_seg.checkpoint import Checkpointer
from unified_seg.inference.augmentation import add_test_augmentation
from unified_seg.inference.training_description import check_training, describe_training
from unified_seg.inference.value_range import adopt_value_range
from unified_seg.meta_arch import build_model

__all__ = ["describe_training", "load_trained_model"]


def load_trained_model(cfg: CfgNode) -> tuple[CfgNode, nn.Module]:
    """Build the model of a config for inference, with MODEL.WEIGHTS.

    Args:
        cfg: resolved for inference.

    Returns:
        The config with the range of values of the training and without keys of the views, and the model in inference
        mode; an AugmentedSegmentor with TEST.AUG.ENABLED.

    Raises:
        CheckpointError: weights of another config, or with another order of the classes.
        ConfigError: a model that can't be built, or invalid TEST.AUG.
    """
    model = build_model(cfg).eval()
    checkpoint = Checkpointer(model, complete=True).load(cfg.MODEL.WEIGHTS)
    check_training(cfg, checkpoint)
    return add_test_augmentation(adopt_value_range(cfg, checkpoint), model)
