"""The augmentations of a config, for image, labels and masks together."""

from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.data import transforms as T

from unified_seg.config import ConfigError
from unified_seg.data.pipeline.resize import RandomResizeCrop, RandomScale, ResizeShortestEdge
from unified_seg.data.pipeline.transforms import (
    GRAY_OF,
    GaussianBlur,
    PadToSize,
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomRotation,
    RandomSaturation,
)

# The values that Detectron2 knows, but for "both" flips.
FLIPS = {"none": (), "horizontal": ("horizontal",), "vertical": ("vertical",), "both": ("horizontal", "vertical")}
CROP_TYPES = ("relative", "relative_range", "absolute", "absolute_range")
SAMPLINGS = ("choice", "range")


def build_augmentations(cfg: CfgNode, is_train: bool) -> T.AugmentationList:
    """Return the augmentations of INPUT: colors, rotation, resize, crop, blur, padding and flip, in this order.

    Colors come before all that fills new pixels with the pixel mean, padding after all that would change them.
    Rotation commutes with the resize; before it, resize and crop can be one. The blur is cheapest on the crop. During
    the transforms void is 0 in label maps.

    The scales 0.8 to 1 of the fusion-scheme paper are MIN_SIZE_TRAIN (0.8 * height, height) with
    MIN_SIZE_TRAIN_SAMPLING "range"; PSPNet's 0.5 to 2 are MIN_SIZE_TRAIN (0,) with RANDOM_SCALE [0.5, 2.0].

    Raises:
        ConfigError: an invalid value; a crop by the area of semantic classes for a model without semantic labels.
    """
    source = cfg.INPUT
    if not is_train:
        return T.AugmentationList([ResizeShortestEdge(source.MIN_SIZE_TEST, source.MAX_SIZE_TEST, "choice")])
    _check(source)
    fill = cfg.MODEL.PIXEL_MEAN
    steps = _build_color_changes(source)
    if source.ROTATION.DEGREES:
        steps.append(T.RandomApply(RandomRotation(source.ROTATION.DEGREES, fill), source.ROTATION.PROB))
    steps += _build_resize_and_crop(cfg)
    if source.BLUR.PROB:
        steps.append(T.RandomApply(GaussianBlur(source.BLUR.KERNEL), source.BLUR.PROB))
    if source.CROP.ENABLED and source.CROP.PAD:
        steps.append(PadToSize(source.CROP.SIZE, fill))
    for axis in FLIPS[source.RANDOM_FLIP]:
        steps.append(T.RandomFlip(horizontal=axis == "horizontal", vertical=axis == "vertical"))
    return T.AugmentationList(steps)


def _build_color_changes(source: CfgNode) -> list[T.Augmentation]:
    steps: list[T.Augmentation] = []
    if tuple(source.BRIGHTNESS) != (1.0, 1.0):
        steps.append(RandomBrightness(*source.BRIGHTNESS))
    if tuple(source.CONTRAST) != (1.0, 1.0):
        steps.append(RandomContrast(*source.CONTRAST))
    if tuple(source.SATURATION) != (1.0, 1.0):
        low, high = source.SATURATION
        steps.append(RandomSaturation(low, high, source.FORMAT))
    return steps


def _build_resize_and_crop(cfg: CfgNode) -> list[T.Augmentation]:
    source = cfg.INPUT
    lengths = (source.MIN_SIZE_TRAIN, source.MAX_SIZE_TRAIN, source.MIN_SIZE_TRAIN_SAMPLING)
    resize: ResizeShortestEdge
    if tuple(source.RANDOM_SCALE) == (1.0, 1.0):
        resize = ResizeShortestEdge(*lengths)
    else:
        resize = RandomScale(*lengths, factors=source.RANDOM_SCALE, step=source.RANDOM_SCALE_STEP)
    return [RandomResizeCrop(resize, _build_crop(cfg)) if source.CROP.ENABLED else resize]


def _build_crop(cfg: CfgNode) -> RandomCrop:
    crop = cfg.INPUT.CROP
    if crop.SINGLE_CATEGORY_MAX_AREA < 1.0 and not cfg.MODEL.SEM_SEG_HEAD.NAME:
        raise ConfigError(
            "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA needs semantic labels: the model must have a semantic head"
        )
    return RandomCrop(crop.TYPE, crop.SIZE, crop.SINGLE_CATEGORY_MAX_AREA)


def _check(source: CfgNode) -> None:
    """Raise ConfigError for values that would fail during training, or have no effect."""
    _check_scale(source)
    _require(0 <= source.ROTATION.DEGREES <= 180, "ROTATION.DEGREES", source.ROTATION.DEGREES, "in [0, 180]")
    for name in ("ROTATION", "BLUR"):
        _require(0 <= source[name].PROB <= 1, f"{name}.PROB", source[name].PROB, "a probability, in [0, 1]")
    kernel = source.BLUR.KERNEL
    _require(kernel > 0 and kernel % 2 == 1, "BLUR.KERNEL", kernel, "an odd number of pixels")
    for name in ("BRIGHTNESS", "CONTRAST", "SATURATION"):
        _check_range(name, source[name])
    if tuple(source.SATURATION) != (1.0, 1.0):
        _require(source.FORMAT in GRAY_OF, "FORMAT", source.FORMAT, f"{' or '.join(GRAY_OF)} with INPUT.SATURATION")
    _require(source.RANDOM_FLIP in FLIPS, "RANDOM_FLIP", source.RANDOM_FLIP, f"one of {', '.join(FLIPS)}")
    if source.CROP.ENABLED:
        _check_crop(source.CROP)


def _check_crop(crop: CfgNode) -> None:
    _require(crop.TYPE in CROP_TYPES, "CROP.TYPE", crop.TYPE, f"one of {', '.join(CROP_TYPES)}")
    if crop.PAD:
        _require(crop.TYPE == "absolute", "CROP.TYPE", crop.TYPE, '"absolute" with INPUT.CROP.PAD')
    if crop.TYPE.startswith("absolute"):
        fits, unit = all(isinstance(side, int) and side > 0 for side in crop.SIZE), "numbers of pixels"
    else:
        fits, unit = all(0 < side <= 1 for side in crop.SIZE), "shares of the image, in (0, 1],"
    _require(len(crop.SIZE) == 2 and fits, "CROP.SIZE", crop.SIZE, f'two {unit} with INPUT.CROP.TYPE "{crop.TYPE}"')
    if crop.TYPE == "absolute_range":
        _require(crop.SIZE[0] <= crop.SIZE[1], "CROP.SIZE", crop.SIZE, "the shortest and the longest side")
    area = crop.SINGLE_CATEGORY_MAX_AREA
    _require(0 < area <= 1, "CROP.SINGLE_CATEGORY_MAX_AREA", area, "a share, in (0, 1]")


def _check_scale(source: CfgNode) -> None:
    lengths, sampling = source.MIN_SIZE_TRAIN, source.MIN_SIZE_TRAIN_SAMPLING
    _require(sampling in SAMPLINGS, "MIN_SIZE_TRAIN_SAMPLING", sampling, f"one of {', '.join(SAMPLINGS)}")
    possible = len(lengths) > 0 and min(lengths) >= 0
    _require(possible, "MIN_SIZE_TRAIN", lengths, "numbers of pixels, or 0 for the image's own size")
    if sampling == "range":
        two = len(lengths) == 2 and lengths[0] <= lengths[1]
        _require(two, "MIN_SIZE_TRAIN", lengths, 'the shorter and the longer of MIN_SIZE_TRAIN_SAMPLING "range"')
    low, high = _check_range("RANDOM_SCALE", source.RANDOM_SCALE)
    step = source.RANDOM_SCALE_STEP
    _require(step >= 0 and (step <= high - low or low == high), "RANDOM_SCALE_STEP", step, f"in [0, {high - low}]")
    shortest = min((length for length in lengths if length > 0), default=None)
    if shortest and int(low * shortest + 0.5) < 1:
        raise ConfigError(f"INPUT.RANDOM_SCALE: {low} leaves no pixel of INPUT.MIN_SIZE_TRAIN {shortest}")


def _check_range(name: str, values: Sequence[float]) -> tuple[float, float]:
    _require(len(values) == 2 and 0 < values[0] <= values[1], name, values, "two factors above 0, the lower one first")
    low, high = values
    return low, high


def _require(is_valid: bool, name: str, value: object, expected: str) -> None:
    if not is_valid:
        raise ConfigError(f"INPUT.{name} must be {expected}, got {value!r}")
