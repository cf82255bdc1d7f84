"""From config to the transforms that move image, labels and masks together."""

from detectron2.config import CfgNode
from detectron2.data import transforms as T


def build_augmentations(cfg: CfgNode, is_train: bool) -> T.AugmentationList:
    """Resize, crop and flip, by Detectron2's INPUT keys.

    The scales 0.8 to 1 of the fusion-scheme paper are MIN_SIZE_TRAIN (0.8 * height, height) with
    MIN_SIZE_TRAIN_SAMPLING "range".
    """
    source = cfg.INPUT
    if not is_train:
        return T.AugmentationList([T.ResizeShortestEdge(source.MIN_SIZE_TEST, source.MAX_SIZE_TEST, "choice")])
    steps: list[T.Augmentation] = [
        T.ResizeShortestEdge(source.MIN_SIZE_TRAIN, source.MAX_SIZE_TRAIN, source.MIN_SIZE_TRAIN_SAMPLING)
    ]
    if source.CROP.ENABLED:
        steps.append(
            T.RandomCrop_CategoryAreaConstraint(
                source.CROP.TYPE,
                source.CROP.SIZE,
                source.CROP.SINGLE_CATEGORY_MAX_AREA,
                cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
            )
            if source.CROP.SINGLE_CATEGORY_MAX_AREA < 1.0
            else T.RandomCrop(source.CROP.TYPE, source.CROP.SIZE)
        )
    if source.RANDOM_FLIP != "none":
        horizontal = source.RANDOM_FLIP == "horizontal"
        steps.append(T.RandomFlip(horizontal=horizontal, vertical=not horizontal))
    return T.AugmentationList(steps)
