"""Semantic inference in sliding windows, with bounded memory for large images, against the whole image at once.

A trivial network leaves the time and memory of everything else: each of its logits depends on one pixel of the image,
and the class with the nearest color wins. Windows therefore change no label. The peers take the whole image. The plain
one resizes all logits to the size of the image and takes the argmax; at 4096x8192 it would need 20 GB, so it is
measured at 512x1024 or less. The other is the method without windows, which keeps the logits at the stride of the head.
"""

import argparse
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads import SemanticHead
from unified_seg.heads.base import SemanticPrediction
from unified_seg.heads.inputs import Features, HeadInputs
from unified_seg.meta_arch import UnifiedSegmentor
from unified_seg.ops.resampling import compute_positions
from unified_seg.structures.class_table import ClassTable, SegmentClass
from unified_seg_cli import ToolParser

from .harness import Call, Comparison, check_size

SIZE = (4096, 8192)
PLAIN_SIZE = (512, 1024)
CLASSES = 150
STRIDES = (8, 4)
SEED = 0
# Pixels from one random color of the image to the next.
GRAIN = 64
PIXEL_MEAN, PIXEL_STD = 128.0, 64.0
TIE = 1e-5


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--window", "side of a window in pixels", default=512)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return two comparisons for each stride, with the plain peer and with the method without windows.

    Raises:
        ValueError: the windows do not fit the stride.
    """
    plain_size = (min(args.size[0], PLAIN_SIZE[0]), min(args.size[1], PLAIN_SIZE[1]))
    return [
        _comparison(size, stride, args.window, args.device, plain)
        for size, plain in ((plain_size, True), (args.size, False))
        for stride in STRIDES
    ]


def _comparison(size: tuple[int, int], stride: int, window: int, device: str, plain: bool) -> Comparison:
    check_size(size, stride)
    stand_in(stride, window, device)
    return Comparison(
        name=f"labels by windows, {size[0]}x{size[1]}, stride {stride}",
        against="the whole image, F.interpolate, argmax(1)" if plain else "the method without windows",
        inputs=f"a smooth image (seed {SEED}), {CLASSES} classes, a trivial network, windows of {window} pixels that "
        "overlap by a third",
        method=partial(prepare_method, size, stride, window, device),
        peer=partial(prepare_plain, size, stride, device)
        if plain
        else partial(prepare_method, size, stride, 0, device),
        equal=f"labels, but for ties under {TIE:g}",
        assert_equal=partial(assert_equal_labels, stride, device),
    )


class StandInBackbone(Backbone):
    """A backbone that scores each color of a palette by its nearness to the color of every `stride`-th pixel."""

    def __init__(self, palette: Tensor, stride: int):
        super().__init__()
        self.stride = stride
        self.palette = nn.Parameter(palette)

    def forward(self, image: Tensor) -> Features:
        # The terms of the negative half squared distance that depend on the color of the palette.
        bias = -self.palette.square().sum(1) / 2
        points = image[:, :, :: self.stride, :: self.stride]
        return {"scores": F.conv2d(points, self.palette[:, :, None, None], bias)}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"scores": ShapeSpec(channels=len(self.palette), stride=self.stride)}


class StandInHead(SemanticHead[SemanticPrediction]):
    """A semantic head that returns the scores of StandInBackbone."""

    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        return SemanticPrediction(inputs.features["scores"])


def stand_in(stride: int, window: int, device: str) -> UnifiedSegmentor:
    """Build the model; raises ValueError if the window does not fit the stride."""
    palette = np.random.default_rng(SEED).uniform(0, 255, (CLASSES, 3))
    classes = [
        SegmentClass(f"class {k}", k, None, k, f"class {k}", (int(r), int(g), int(b)))
        for k, (r, g, b) in enumerate(palette)
    ]
    model = UnifiedSegmentor(
        backbone=StandInBackbone(torch.from_numpy((palette - PIXEL_MEAN) / PIXEL_STD).float(), stride),
        sem_seg_head=StandInHead(num_classes=CLASSES, ignore_value=255, common_stride=stride),
        class_table=ClassTable(classes),
        pixel_mean=(PIXEL_MEAN,) * 3,
        pixel_std=(PIXEL_STD,) * 3,
        output_format="compact",
        window_size=window,
        window_overlap=1 / 3,
    )
    return model.eval().to(device)


def smooth_image(size: tuple[int, int]) -> Tensor:
    """Return a (3, H, W) uint8 image, always the same for a size."""
    coarse = (-(-size[0] // GRAIN) + 1, -(-size[1] // GRAIN) + 1, 3)
    colors = np.random.default_rng(SEED).integers(0, 256, coarse, dtype=np.uint8)
    pixels = cv2.resize(colors, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def prepare_method(size: tuple[int, int], stride: int, window: int, device: str) -> Call:
    return partial(_infer, stand_in(stride, window, device), [{"image": smooth_image(size)}])


@torch.no_grad()
def _infer(model: UnifiedSegmentor, inputs: list[dict[str, Any]]) -> Tensor:
    return model(inputs)[0]["sem_seg_labels"]


def prepare_plain(size: tuple[int, int], stride: int, device: str) -> Call:
    return partial(_resize_then_argmax, stand_in(stride, 0, device), [{"image": smooth_image(size)}], stride)


@torch.no_grad()
def _resize_then_argmax(model: UnifiedSegmentor, inputs: list[dict[str, Any]], stride: int) -> Tensor:
    logits = model.extract(inputs)[1]["scores"]
    return F.interpolate(logits, scale_factor=stride, mode="bilinear", align_corners=False).argmax(1)[0]


@torch.no_grad()
def assert_equal_labels(stride: int, device: str, method: Tensor, peer: Tensor) -> None:
    """Assert that labels (H, W) only differ where their two classes have nearly equal logits in the whole image."""
    assert method.shape == peer.shape
    places = (method != peer).nonzero(as_tuple=True)
    logits = stand_in(stride, 0, device).extract([{"image": smooth_image((method.shape[0], method.shape[1]))}])[1][
        "scores"
    ][0]
    rows, columns = (
        compute_positions(side, side, stride, cells) for side, cells in zip(method.shape, logits.shape[1:], strict=True)
    )
    y, x = (along.to(logits.device).select(place) for along, place in zip((rows, columns), places))
    gaps = torch.lerp(
        torch.lerp(logits[:, y.first, x.first], logits[:, y.first, x.second], x.weight),
        torch.lerp(logits[:, y.second, x.first], logits[:, y.second, x.second], x.weight),
        y.weight,
    )
    chosen = (gaps.gather(0, labels[places].long()[None]) for labels in (method, peer))
    gap = (next(chosen) - next(chosen)).abs()
    wrong = int((gap >= TIE).sum())
    assert not wrong, f"{wrong} labels differ by more than a tie, by up to {gap.max().item():.3g} in the logits"
