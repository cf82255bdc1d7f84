"""From config to the transforms that move image, labels and masks together."""

from detectron2.config import CfgNode
from detectron2.data import transforms as T

from unified_seg.config import ConfigError


def build_augmentations(cfg: CfgNode, is_train: bool) -> T.AugmentationList:
    """Resize, crop and flip, by Detectron2's INPUT keys.

    The scales 0.8 to 1 of the fusion-scheme paper are MIN_SIZE_TRAIN (0.8 * height, height) with
    MIN_SIZE_TRAIN_SAMPLING "range".

    Raises:
        ConfigError: a crop by the area of semantic classes for a model that reads no semantic labels.
    """
    source = cfg.INPUT
    if not is_train:
        return T.AugmentationList([T.ResizeShortestEdge(source.MIN_SIZE_TEST, source.MAX_SIZE_TEST, "choice")])
    steps: list[T.Augmentation] = [
        T.ResizeShortestEdge(source.MIN_SIZE_TRAIN, source.MAX_SIZE_TRAIN, source.MIN_SIZE_TRAIN_SAMPLING)
    ]
    if source.CROP.ENABLED:
        steps.append(_build_crop(cfg))
    if source.RANDOM_FLIP != "none":
        horizontal = source.RANDOM_FLIP == "horizontal"
        steps.append(T.RandomFlip(horizontal=horizontal, vertical=not horizontal))
    return T.AugmentationList(steps)


def _build_crop(cfg: CfgNode) -> T.Augmentation:
    crop = cfg.INPUT.CROP
    if crop.SINGLE_CATEGORY_MAX_AREA >= 1.0:
        return T.RandomCrop(crop.TYPE, crop.SIZE)
    if not cfg.MODEL.SEM_SEG_HEAD.NAME:
        raise ConfigError(
            "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA looks at semantic labels: the model needs a semantic head"
        )
    ignore = cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
    return T.RandomCrop_CategoryAreaConstraint(crop.TYPE, crop.SIZE, crop.SINGLE_CATEGORY_MAX_AREA, ignore)
