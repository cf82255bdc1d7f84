"""A trained model on single images."""

from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T

from unified_seg.checkpoint import Checkpointer, CheckpointError
from unified_seg.data.pipeline.input_augmentation import build_augmentations
from unified_seg.data.resolve import resolve_config
from unified_seg.inference.augmentation import add_test_augmentation
from unified_seg.meta_arch import build_model


class Predictor:
    """Predictor for single BGR images, like Detectron2's DefaultPredictor, with the weights of MODEL.WEIGHTS.

    With stages in the config, the model is that of the last one. With TEST.AUG.ENABLED the outputs combine several
    views of the image.

    Attributes:
        metadata: of the training set, whose classes the model predicts.
        model: in inference mode; an AugmentedSegmentor with TEST.AUG.ENABLED.

    Raises:
        CheckpointError: no weights, or weights of another config.
        ConfigError: a model that can't be built, or invalid TEST.AUG.
    """

    def __init__(self, cfg: CfgNode):
        cfg = resolve_config(cfg, for_inference=True)
        if not cfg.MODEL.WEIGHTS:
            raise CheckpointError("MODEL.WEIGHTS is empty: there is nothing to predict with")
        model = build_model(cfg).eval()
        Checkpointer(model, complete=True).load(cfg.MODEL.WEIGHTS)
        cfg, self.model = add_test_augmentation(cfg, model)
        self.metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
        self.augmentations = build_augmentations(cfg, is_train=False)
        self.input_format = cfg.INPUT.FORMAT

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> dict[str, Any]:
        """Return the model's outputs at the image's size, in the format of MODEL.UNIFIED.OUTPUT.

        Args:
            image: (H, W, 3) uint8, BGR whatever INPUT.FORMAT is.
        """
        height, width = image.shape[:2]
        augmented = T.AugInput(image[:, :, ::-1] if self.input_format == "RGB" else image)
        self.augmentations(augmented)
        tensor = torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        return self.model([{"image": tensor, "height": height, "width": width}])[0]
