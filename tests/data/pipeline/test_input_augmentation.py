import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.data import transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.config import ConfigError, get_config
from unified_seg.data.datasets.cityscapes import build_cityscapes_table
from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.label_files import read_label
from unified_seg.data.pipeline.input_augmentation import build_augmentations
from unified_seg.data.pipeline.mapper import UnifiedMapper
from unified_seg.data.pipeline.resize import RandomResizeCrop, RandomScale, ResizeShortestEdge
from unified_seg.data.pipeline.transforms import PadToSize, RandomBrightness, RandomContrast, RandomSaturation

IGNORE = 255
# In BGR, as the default config reads images; void is drawn black.
COLORS = torch.tensor([*build_cityscapes_table().semantic_colors, *[(0, 0, 0)] * 237])[:, [2, 1, 0]]
SEMANTIC_OF_THING = torch.tensor([11, 12, 13, 14, 15, 16, 17, 18])
FILL = torch.tensor([104, 116, 124])  # of PIXEL_MEAN 103.53, 116.28, 123.675


def config_with(**values: Any) -> CfgNode:
    """Detectron2's default model with a detector and a semantic head; keys are those of INPUT, with _ for the dot."""
    cfg = get_config()
    cfg.DATASETS.TRAIN = ("unified_cityscapes_train",)  # whose classes the drawn streets have
    cfg.INPUT.MIN_SIZE_TRAIN = (0,)
    nodes = ("CROP", "ROTATION", "BLUR")
    for name, value in values.items():
        node = next((node for node in nodes if name.startswith(f"{node}_")), "")
        (cfg.INPUT[node] if node else cfg.INPUT)[name.removeprefix(f"{node}_")] = value
    return cfg


def steps_of(cfg: CfgNode, is_train: bool = True) -> list[T.Augmentation]:
    return list(build_augmentations(cfg, is_train).augs)


@pytest.fixture(scope="module")
def records(tiny_dataset: Any) -> list[dict[str, Any]]:
    return DatasetCatalog.get(tiny_dataset.train)


def sample(cfg: CfgNode, record: dict[str, Any], seed: int) -> dict[str, Any]:
    np.random.seed(seed)
    return UnifiedMapper(cfg, True)(record)


def test_augmentations_are_those_of_the_config() -> None:
    cfg = config_with(MIN_SIZE_TRAIN=(51, 64), MIN_SIZE_TRAIN_SAMPLING="range", MAX_SIZE_TRAIN=99)
    resize, flip = steps_of(cfg)
    assert type(resize) is ResizeShortestEdge and isinstance(flip, T.RandomFlip)
    assert (tuple(resize.short_edge_length), resize.max_size, resize.is_range) == ((51, 64), 99, True)
    assert flip.horizontal and not flip.vertical
    cfg.INPUT.RANDOM_FLIP = "vertical"
    assert steps_of(cfg)[1].vertical
    cfg.INPUT.RANDOM_FLIP = "both"
    assert [(each.horizontal, each.vertical) for each in steps_of(cfg)[1:]] == [(True, False), (False, True)]
    cfg.INPUT.RANDOM_FLIP = "none"
    assert len(steps_of(cfg)) == 1
    cfg.INPUT.CROP.ENABLED, cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = True, "absolute", [40, 40]
    (together,) = steps_of(cfg)
    assert type(together.resize) is ResizeShortestEdge
    assert (together.crop.crop_size, together.crop.max_area) == ([40, 40], 1.0)
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 64, 128
    (test_resize,) = steps_of(cfg, is_train=False)
    assert (test_resize.short_edge_length, test_resize.max_size) == ((64, 64), 128)


ALL = {
    "RANDOM_SCALE": [0.5, 2.0],
    "RANDOM_SCALE_STEP": 0.25,
    "ROTATION_DEGREES": 10.0,
    "ROTATION_PROB": 0.4,
    "BLUR_PROB": 0.3,
    "BRIGHTNESS": [0.9, 1.2],
    "CONTRAST": [0.8, 1.1],
    "SATURATION": [0.5, 1.3],
    "CROP_ENABLED": True,
    "CROP_TYPE": "absolute",
    "CROP_SIZE": [40, 50],
    "CROP_PAD": True,
    "CROP_SINGLE_CATEGORY_MAX_AREA": 0.75,
}


def test_all_augmentations_can_be_combined() -> None:
    cfg = config_with(**ALL)
    brightness, contrast, saturation, rotation, scale_crop, blur, padding, flip = steps_of(cfg)
    assert isinstance(brightness, RandomBrightness) and (brightness.low, brightness.high) == (0.9, 1.2)
    assert isinstance(contrast, RandomContrast) and (contrast.low, contrast.high) == (0.8, 1.1)
    assert isinstance(saturation, RandomSaturation) and (saturation.low, saturation.high) == (0.5, 1.3)
    assert (rotation.prob, rotation.aug.degrees, list(rotation.aug.fill)) == (0.4, 10.0, cfg.MODEL.PIXEL_MEAN)
    assert isinstance(scale_crop, RandomResizeCrop)
    assert (scale_crop.resize.factors, scale_crop.resize.step) == ([0.5, 2.0], 0.25)
    assert (scale_crop.crop.crop_size, scale_crop.crop.max_area) == ([40, 50], 0.75)
    assert (blur.prob, blur.aug.kernel) == (0.3, 5)
    assert isinstance(padding, PadToSize)
    assert (list(padding.size), list(padding.fill)) == ([40, 50], cfg.MODEL.PIXEL_MEAN)
    assert isinstance(flip, T.RandomFlip)
    # Without a crop there is no padding, and only the scale remains.
    cfg.INPUT.CROP.ENABLED = False
    assert isinstance(steps_of(cfg)[4], RandomScale) and len(steps_of(cfg)) == 7
    # Evaluation has no augmentation.
    assert len(steps_of(cfg, is_train=False)) == 1


CROPS = [
    {},
    {"CROP_ENABLED": True, "CROP_TYPE": "absolute", "CROP_SIZE": [40, 50]},
    {"CROP_ENABLED": True, "CROP_TYPE": "absolute", "CROP_SIZE": [99, 50]},
    {"CROP_ENABLED": True, "CROP_SINGLE_CATEGORY_MAX_AREA": 0.6, "CROP_SIZE": [0.3, 0.2]},
]


@pytest.mark.filterwarnings("ignore:.*array is not writable")  # of Detectron2's flip after its resize
@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical"])
def test_default_augmentations_equal_detectron2(crop: dict[str, Any], flip: str, records: list[dict[str, Any]]) -> None:
    # Trainings on record compare on it: pixel for pixel, draw for draw.
    cfg = config_with(MIN_SIZE_TRAIN=(51, 70), MIN_SIZE_TRAIN_SAMPLING="range", RANDOM_FLIP=flip, **crop)
    steps: list[T.Augmentation] = [T.ResizeShortestEdge((51, 70), 1333, "range")]
    if crop:
        kind, size, area = (cfg.INPUT.CROP[key] for key in ("TYPE", "SIZE", "SINGLE_CATEGORY_MAX_AREA"))
        limited = T.RandomCrop_CategoryAreaConstraint(kind, size, area, IGNORE)
        steps.append(limited if area < 1 else T.RandomCrop(kind, size))
    if flip != "none":
        steps.append(T.RandomFlip(horizontal=flip == "horizontal", vertical=flip == "vertical"))
    for seed in range(8):
        record = records[seed % len(records)]
        actual = sample(cfg, record, seed)
        next_draw = np.random.random()
        np.random.seed(seed)
        expected = T.AugInput(read_image(record["file_name"]), sem_seg=read_label(record["sem_seg_file_name"]))
        T.AugmentationList(steps)(expected)
        assert np.random.random() == next_draw
        assert np.array_equal(actual["image"].permute(1, 2, 0), expected.image)
        assert np.array_equal(actual["sem_seg"], expected.sem_seg)


@st.composite
def inputs(draw: Callable[[Any], Any]) -> dict[str, Any]:
    """INPUT keys of any combination of augmentations, but for the blur."""
    values = {
        "MIN_SIZE_TRAIN": draw(st.sampled_from([(0,), (51, 64)])),
        "RANDOM_SCALE": draw(st.sampled_from([[1.0, 1.0], [0.5, 2.0], [0.7, 0.7]])),
        "RANDOM_SCALE_STEP": draw(st.sampled_from([0.0, 0.25])),
        "ROTATION_DEGREES": draw(st.sampled_from([0.0, 10.0, 180.0])),
        "BRIGHTNESS": draw(st.sampled_from([[1.0, 1.0], [0.5, 0.5]])),
        "RANDOM_FLIP": draw(st.sampled_from(["none", "horizontal", "vertical", "both"])),
    }
    if draw(st.booleans()):
        size, pad = draw(st.tuples(st.integers(20, 150), st.integers(20, 150))), draw(st.booleans())
        limit = draw(st.sampled_from([0.75, 1.0]))
        crop = {"ENABLED": True, "TYPE": "absolute", "SIZE": list(size), "PAD": pad, "SINGLE_CATEGORY_MAX_AREA": limit}
        values |= {f"CROP_{key}": value for key, value in crop.items()}
    return values


def far_from_borders(label: torch.Tensor) -> torch.Tensor:
    """(H, W) bool: pixels whose label goes on for 4 pixels to all sides, within the image."""
    framed = torch.nn.functional.pad(label.float(), (4, 4, 4, 4), value=-1)[None]
    highest, negative_lowest = (torch.nn.functional.max_pool2d(x, 9, stride=1)[0] for x in (framed, -framed))
    return highest == -negative_lowest


@settings(max_examples=120, deadline=None)
@given(inputs(), st.integers(0, 3), st.integers(0, 2**31))
def test_image_label_and_masks_stay_together(
    records: list[dict[str, Any]], values: dict[str, Any], index: int, seed: int
) -> None:
    result = sample(config_with(**values), records[index], seed)
    image, label, instances = result["image"], result["sem_seg"], result["instances"]
    masks = instances.gt_masks.tensor
    assert image.shape[1:] == label.shape == masks.shape[1:] == instances.image_size
    if values.get("CROP_PAD"):
        assert list(label.shape) == values["CROP_SIZE"]

    # Masks and label come from pixels side by side: their classes are the same everywhere.
    for mask, cls in zip(masks, instances.gt_classes, strict=True):
        assert (label[mask] == SEMANTIC_OF_THING[cls]).all()
    assert masks.flatten(1).any(1).all()
    crowd = index == 3
    assert torch.equal(masks.any(0), torch.isin(label, SEMANTIC_OF_THING) & (not crowd))

    # Far from borders nothing else was blended in. Void is black, or new, or between.
    inner = far_from_borders(label)
    expected = (COLORS[label] * values["BRIGHTNESS"][0]).permute(2, 0, 1)
    as_label = ((image - expected).abs() <= 1).all(0)
    as_void = (image <= FILL[:, None, None]).all(0) & (label == IGNORE)
    assert (as_label | as_void)[inner].all()


def test_regions_are_large_enough_to_be_compared(records: list[dict[str, Any]]) -> None:
    # What the test above compares, on the smallest images that it draws.
    label = sample(config_with(RANDOM_SCALE=[0.5, 0.5]), records[0], 0)["sem_seg"]
    inner = far_from_borders(label)
    assert len(label[inner].unique()) >= 4 and inner.float().mean() > 0.15


@pytest.mark.parametrize("flip", ["horizontal", "vertical"])
def test_flips_mirror_image_and_labels(flip: str, records: list[dict[str, Any]]) -> None:
    values = {"RANDOM_SCALE": [0.5, 2.0], "ROTATION_DEGREES": 10.0, "BLUR_PROB": 0.5, "BRIGHTNESS": [0.8, 1.2]}
    axis = -1 if flip == "horizontal" else -2
    mirrored = 0
    for seed in range(12):
        # The flip draws last: all else is the same with it.
        plain = sample(config_with(**values, RANDOM_FLIP="none"), records[0], seed)
        other = sample(config_with(**values, RANDOM_FLIP=flip), records[0], seed)
        tensors = [(r["image"], r["sem_seg"], r["instances"].gt_masks.tensor) for r in (plain, other)]
        if all(torch.equal(a.flip(axis), b) for a, b in zip(*tensors)):
            mirrored += 1
        else:
            assert all(torch.equal(a, b) for a, b in zip(*tensors))
    assert 0 < mirrored < 12


def test_crops_larger_than_the_image_are_padded(records: list[dict[str, Any]]) -> None:
    crop = {"CROP_ENABLED": True, "CROP_TYPE": "absolute", "CROP_SIZE": [100, 90], "RANDOM_FLIP": "none"}
    values = {"MIN_SIZE_TRAIN": (64,), **crop}
    padded = sample(config_with(**values, CROP_PAD=True, BLUR_PROB=1.0, BRIGHTNESS=[0.5, 0.5]), records[0], 0)
    assert padded["sem_seg"].shape == (100, 90)
    # The image is 64 x 128: 18 rows above and below are new.
    for rows in (slice(0, 18), slice(82, 100)):
        assert (padded["sem_seg"][rows] == IGNORE).all()
        assert (padded["image"][:, rows] == FILL[:, None, None]).all()
        assert not padded["instances"].gt_masks.tensor[:, rows].any()
    plain = sample(config_with(**values), records[0], 0)
    assert plain["sem_seg"].shape == (64, 90)
    assert torch.equal(plain["sem_seg"], padded["sem_seg"][18:82])
    assert torch.equal(plain["instances"].gt_masks.tensor, padded["instances"].gt_masks.tensor[:, 18:82])


def test_new_corners_of_rotations_are_void(records: list[dict[str, Any]]) -> None:
    # A right angle of an image twice as wide as high leaves its left and right quarter empty, whichever way it turns.
    cfg = config_with(ROTATION_DEGREES=90.0, ROTATION_PROB=1.0, RANDOM_FLIP="none")
    (rotation, *_) = steps_of(cfg)
    image, label = np.full((64, 128, 3), 9, dtype=np.uint8), np.full((64, 128), 3, dtype=np.uint8)
    seen = set()
    for seed in range(20):
        np.random.seed(seed)
        augmented = T.AugInput(image, sem_seg=label)
        angle = rotation(augmented).angle
        seen.add(angle > 0)
        # Corners of the image lie outside of the rotated one from a few degrees on.
        if abs(angle) > 5:
            assert augmented.sem_seg[0, 0] == augmented.sem_seg[-1, -1] == 0
            assert augmented.image[0, 0].tolist() == augmented.image[-1, -1].tolist() == FILL.tolist()
    assert seen == {True, False}
    result = sample(cfg, records[0], 1)
    new = (result["image"] == FILL[:, None, None]).all(0)
    assert new.float().mean() > 0.05
    assert (result["sem_seg"][new] == IGNORE).all()
    assert not result["instances"].gt_masks.tensor[:, new].any()


def test_only_the_share_of_the_config_is_rotated_and_blurred(records: list[dict[str, Any]]) -> None:
    whole = sample(config_with(RANDOM_FLIP="none"), records[0], 0)["image"]
    for values in ({"ROTATION_DEGREES": 10.0, "ROTATION_PROB": 0.3}, {"BLUR_PROB": 0.3}):
        cfg = config_with(RANDOM_FLIP="none", **values)
        same = [torch.equal(sample(cfg, records[0], seed)["image"], whole) for seed in range(100)]
        # 100 draws of 0.7 have a deviation of 0.046.
        assert np.mean(same) == pytest.approx(0.7, abs=0.14)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"RANDOM_SCALE": [2.0, 0.5]}, r"INPUT\.RANDOM_SCALE must be two factors above 0.*\[2\.0, 0\.5\]"),
        ({"RANDOM_SCALE": [0.0, 1.0]}, r"INPUT\.RANDOM_SCALE must be"),
        ({"RANDOM_SCALE": [0.5]}, r"INPUT\.RANDOM_SCALE must be"),
        ({"RANDOM_SCALE": [float("nan"), 1.0]}, r"INPUT\.RANDOM_SCALE must be"),
        ({"RANDOM_SCALE_STEP": -0.25}, r"INPUT\.RANDOM_SCALE_STEP must be in \[0, "),
        ({"RANDOM_SCALE": [0.5, 2.0], "RANDOM_SCALE_STEP": 1.75}, r"RANDOM_SCALE_STEP must be in \[0, 1\.5\], got 1"),
        (
            {"RANDOM_SCALE": [0.01, 1.0], "MIN_SIZE_TRAIN": (99, 0, 49)},
            r"INPUT\.RANDOM_SCALE: 0\.01 leaves no pixel of INPUT\.MIN_SIZE_TRAIN 49",
        ),
        ({"MIN_SIZE_TRAIN_SAMPLING": "range"}, r"INPUT\.MIN_SIZE_TRAIN must be the shorter and the longer.*got \(0,\)"),
        ({"MIN_SIZE_TRAIN_SAMPLING": "range", "MIN_SIZE_TRAIN": (9, 8)}, r"INPUT\.MIN_SIZE_TRAIN must be"),
        ({"ROTATION_DEGREES": -1.0}, r"INPUT\.ROTATION\.DEGREES must be in \[0, 180\], got -1\.0"),
        ({"ROTATION_DEGREES": 181.0}, r"INPUT\.ROTATION\.DEGREES must be"),
        ({"ROTATION_PROB": 1.1}, r"INPUT\.ROTATION\.PROB must be a probability, in \[0, 1\], got 1\.1"),
        ({"BLUR_PROB": -0.1}, r"INPUT\.BLUR\.PROB must be a probability"),
        ({"BLUR_KERNEL": 4}, r"INPUT\.BLUR\.KERNEL must be an odd number of pixels, got 4"),
        ({"BLUR_KERNEL": -1}, r"INPUT\.BLUR\.KERNEL must be"),
        ({"BRIGHTNESS": [1.2, 0.8]}, r"INPUT\.BRIGHTNESS must be two factors above 0, the lower one first"),
        ({"BRIGHTNESS": [-0.5, 0.8]}, r"INPUT\.BRIGHTNESS must be"),
        ({"CONTRAST": [1.2, 0.8]}, r"INPUT\.CONTRAST must be two factors above 0"),
        ({"SATURATION": [0.0, 0.8]}, r"INPUT\.SATURATION must be two factors above 0"),
        ({"SATURATION": [0.5, 2.0], "FORMAT": "L"}, r"INPUT\.FORMAT must be BGR or RGB with INPUT\.SATURATION"),
        ({"CROP_ENABLED": True, "CROP_PAD": True}, r'INPUT\.CROP\.TYPE must be "absolute" with INPUT\.CROP\.PAD, got'),
        (
            {"CROP_ENABLED": True, "CROP_PAD": True, "CROP_TYPE": "absolute"},
            r'INPUT\.CROP\.SIZE must be two numbers of pixels with .*TYPE "absolute", got \[0\.9, 0\.9\]',
        ),
        ({"CROP_ENABLED": True, "CROP_TYPE": "absolute"}, r"INPUT\.CROP\.SIZE must be two numbers of pixels"),
        ({"CROP_ENABLED": True, "CROP_TYPE": "absolute", "CROP_SIZE": [64]}, r"INPUT\.CROP\.SIZE must be two"),
        ({"CROP_ENABLED": True, "CROP_TYPE": "absolute", "CROP_SIZE": [64, 0]}, r"INPUT\.CROP\.SIZE must be two"),
        ({"CROP_ENABLED": True, "CROP_SIZE": [64, 64]}, r"INPUT\.CROP\.SIZE must be two shares of the image.*_range"),
        (
            {"CROP_ENABLED": True, "CROP_TYPE": "absolute_range", "CROP_SIZE": [64, 32]},
            r"INPUT\.CROP\.SIZE must be the shortest and the longest side, got \[64, 32\]",
        ),
        ({"CROP_ENABLED": True, "CROP_TYPE": "whole"}, r"INPUT\.CROP\.TYPE must be one of relative, .*got 'whole'"),
        (
            {"CROP_ENABLED": True, "CROP_SINGLE_CATEGORY_MAX_AREA": 75.0},
            r"INPUT\.CROP\.SINGLE_CATEGORY_MAX_AREA must be a share, in \(0, 1\], got 75\.0",
        ),
        ({"CROP_ENABLED": True, "CROP_SINGLE_CATEGORY_MAX_AREA": 0.0}, r"SINGLE_CATEGORY_MAX_AREA must be a share"),
        (
            {"RANDOM_FLIP": "Horizontal"},
            r"INPUT\.RANDOM_FLIP must be one of none, horizontal, vertical, both, got 'Hor",
        ),
        ({"MIN_SIZE_TRAIN_SAMPLING": "ranges"}, r"INPUT\.MIN_SIZE_TRAIN_SAMPLING must be one of choice, range, got"),
        ({"MIN_SIZE_TRAIN": ()}, r"INPUT\.MIN_SIZE_TRAIN must be numbers of pixels, or 0"),
        ({"MIN_SIZE_TRAIN": (-64, 64)}, r"INPUT\.MIN_SIZE_TRAIN must be numbers of pixels, or 0.*got \(-64, 64\)"),
    ],
)
def test_invalid_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_augmentations(config_with(**values), True)
    build_augmentations(config_with(**values), False)


def test_values_at_the_bounds_are_accepted(records: list[dict[str, Any]]) -> None:
    cfg = config_with(
        MIN_SIZE_TRAIN=(50, 99), RANDOM_SCALE=[0.01, 0.02], ROTATION_DEGREES=180.0, ROTATION_PROB=1.0, BLUR_PROB=1.0,
        BLUR_KERNEL=31,
    )  # fmt: skip
    # 50 pixels times 0.01 are half a pixel, which counts as one.
    assert min(sample(cfg, records[0], 0)["sem_seg"].shape) >= 1
    build_augmentations(config_with(RANDOM_SCALE=[0.5, 0.5], RANDOM_SCALE_STEP=0.25), True)
    build_augmentations(config_with(RANDOM_SCALE=[0.5, 0.75], RANDOM_SCALE_STEP=0.25), True)


def test_a_category_limit_needs_a_semantic_head() -> None:
    for scale in ([1.0, 1.0], [0.5, 2.0]):
        cfg = config_with(CROP_ENABLED=True, CROP_SINGLE_CATEGORY_MAX_AREA=0.75, RANDOM_SCALE=scale)
        cfg.MODEL.SEM_SEG_HEAD.NAME = ""
        with pytest.raises(ConfigError, match="the model must have a semantic head"):
            build_augmentations(cfg, True)


def test_augmentations_work_without_a_semantic_head(records: list[dict[str, Any]]) -> None:
    cfg = config_with(**{**ALL, "CROP_SINGLE_CATEGORY_MAX_AREA": 1.0})
    cfg.MODEL.SEM_SEG_HEAD.NAME = ""
    result = sample(cfg, records[0], 0)
    assert "sem_seg" not in result
    assert result["image"].shape == (3, 40, 50)
    assert result["instances"].image_size == (40, 50)


def test_mappers_can_be_pickled(records: list[dict[str, Any]]) -> None:
    # Where processes are not forked, a loader pickles it.
    mapper = UnifiedMapper(config_with(**ALL), True)
    images = []
    for each in (mapper, pickle.loads(pickle.dumps(mapper))):
        np.random.seed(0)
        images.append(torch.stack([each(records[0])["image"] for _ in range(8)]))
    assert torch.equal(*images)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 2.0)])
def test_images_without_labels_are_cropped_whatever_share_a_category_has(scale: tuple[float, ...]) -> None:
    crop = {"CROP_ENABLED": True, "CROP_TYPE": "absolute", "CROP_SIZE": [8, 8], "CROP_SINGLE_CATEGORY_MAX_AREA": 0.5}
    augmentations = build_augmentations(config_with(**crop, RANDOM_SCALE=list(scale)), True)
    given = T.AugInput(np.zeros((32, 32, 3), np.uint8))
    augmentations(given)
    assert given.image.shape[:2] == (8, 8)
