"""Models of other numbers of channels than three: what the predictor takes, also on several views."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from PIL import Image
from tiff import write_tiff

from unified_seg.data.io.image_files import BANDS, read_image
from unified_seg.data.problems import UnsupportedError
from unified_seg.data.resolve import resolve_config
from unified_seg.inference import Predictor

SIZE = (64, 128)
RNG = np.random.default_rng(0)


def make_predictor(
    cfg: CfgNode, folder: Path, format: str, channels: int, value_range: Sequence[float] = ()
) -> Predictor:
    """Return a predictor with random weights that were trained with a range of values."""
    cfg.INPUT.FORMAT = format
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [100.0] * channels, [50.0] * channels
    cfg.MODEL.UNIFIED.OUTPUT = "compact"
    torch.manual_seed(0)
    weights = build_model(resolve_config(cfg)).state_dict()
    torch.save({"model": weights, "trainer": {"value_range": list(value_range)}}, folder / "model.pth")
    cfg.MODEL.WEIGHTS = str(folder / "model.pth")
    return Predictor(cfg)


@pytest.mark.parametrize("views", [False, True])
def test_gray_models_predict_gray_and_color_images(tiny_config: CfgNode, tmp_path: Path, views: bool) -> None:
    tiny_config.TEST.AUG.ENABLED, tiny_config.TEST.AUG.SCALES = views, [0.5, 1.0]
    predictor = make_predictor(tiny_config, tmp_path, "L", 1)
    gray = RNG.integers(0, 256, SIZE, dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "gray.png"), gray)
    image = predictor.read(tmp_path / "gray.png")
    assert image.shape == (*SIZE, 1) and predictor.to_picture(image).shape == (*SIZE, 3)
    expected = predictor(image)["sem_seg_labels"]
    assert expected.shape == SIZE
    for same in (gray, np.repeat(gray[..., None], 3, axis=2)):
        assert torch.equal(predictor(same)["sem_seg_labels"], expected)


@pytest.mark.parametrize("views", [False, True])
def test_models_of_many_bands_predict(tiny_config: CfgNode, tmp_path: Path, views: bool) -> None:
    tiny_config.TEST.AUG.ENABLED, tiny_config.TEST.AUG.SCALES = views, [0.5, 1.0]
    predictor = make_predictor(tiny_config, tmp_path, BANDS, 12)
    file = write_tiff(tmp_path / "x.tif", RNG.integers(0, 256, (*SIZE, 12), dtype=np.uint8))
    image = predictor.read(file)
    assert image.shape == (*SIZE, 12) and predictor.to_picture(image).shape == (*SIZE, 3)
    assert predictor(image)["sem_seg_labels"].shape == SIZE
    with pytest.raises(UnsupportedError, match="3 channels, the model reads 12"):
        predictor(image[..., :3])
    Image.new("RGB", (8, 8)).save(tmp_path / "color.png")
    with pytest.raises(UnsupportedError, match=r"color\.png: .*3 channels, the model reads 12"):
        predictor.read(tmp_path / "color.png")


def test_color_models_take_gray_images(tiny_config: CfgNode, tmp_path: Path) -> None:
    predictor = make_predictor(tiny_config, tmp_path, "RGB", 3)
    gray = RNG.integers(0, 256, SIZE, dtype=np.uint8)
    expected = predictor(np.repeat(gray[..., None], 3, axis=2))["sem_seg_labels"]
    assert torch.equal(predictor(gray)["sem_seg_labels"], expected)
    color = RNG.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "color.png"), color)
    assert np.array_equal(predictor.read(tmp_path / "color.png"), color)  # BGR whatever INPUT.FORMAT is
    with pytest.raises(UnsupportedError, match="4 channels, the model reads 3"):
        predictor(np.zeros((*SIZE, 4), np.uint8))
    for wrong in (gray.astype(np.uint16), color / 255.0, color[None], color[:0]):
        with pytest.raises(UnsupportedError, match=r"expected \(H, W, C\) or \(H, W\) of uint8; `Predictor\.read`"):
            predictor(wrong)


@pytest.mark.parametrize(("key", "expected"), [((), 4), ((0, 65535), 8), ((0, 1023), 2)])
def test_prediction_takes_the_range_of_the_training(
    tiny_config: CfgNode, tmp_path: Path, key: tuple[int, ...], expected: int
) -> None:
    tiny_config.INPUT.VALUE_RANGE = list(key)
    predictor = make_predictor(tiny_config, tmp_path, "BGR", 3, value_range=(0, 4095))
    dark = RNG.integers(0, 1000, SIZE).astype(np.uint16)  # alone it would be taken for an image of 10 bits
    cv2.imwrite(str(tmp_path / "dark.png"), dark)
    assert np.array_equal(predictor.read(tmp_path / "dark.png")[..., 0], dark >> expected)
    assert np.array_equal(read_image(tmp_path / "dark.png")[..., 0], dark >> 2)


@pytest.mark.parametrize(("format", "channels"), [("RGB", 3), ("L", 1)])
def test_the_contrast_of_files_and_arrays_is_stretched_alike(
    tiny_config: CfgNode, tmp_path: Path, format: str, channels: int
) -> None:
    tiny_config.INPUT.STRETCH_PERCENTILES = [2.0, 98.0]
    predictor = make_predictor(tiny_config, tmp_path, format, channels)
    dark = RNG.integers(0, 40, (*SIZE, channels), dtype=np.uint8).repeat(3 // channels, axis=2)
    cv2.imwrite(str(tmp_path / "dark.png"), dark)
    image = predictor.read(tmp_path / "dark.png")
    assert image.max() == 255
    expected = predictor(image)["sem_seg_labels"]
    for same in (dark, 5 * dark + 20):
        assert torch.equal(predictor(same)["sem_seg_labels"], expected)
