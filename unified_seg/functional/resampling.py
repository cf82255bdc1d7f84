"""From logits at a head's stride to an answer for every pixel of the original image, in one bilinear resize.

Detectron2 resizes twice (to the padded input, then to the original image). Once is sharper, cheaper, and can be done
stripe by stripe, so that K full-resolution planes never have to exist.

K = classes, (h, w) = logits, (H, W) = the answer.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

# Rows of output per stripe: small enough that a stripe of 19 classes at 2048 pixels is 10 MB.
STRIPE_ROWS = 64


def resample_logits(logits: Tensor, stride: int, input_size: tuple[int, int], output_size: tuple[int, int]) -> Tensor:
    """Bilinear resize of one image's logits to its original size, leaving out the padding.

    Args:
        logits: (K, h, w), computed from an input padded at its right and bottom.
        stride: input pixels per pixel of the logits.
        input_size: height and width of the image as the network saw it, without padding.
        output_size: (H, W), of the original image.

    Returns:
        (K, H, W) float32.
    """
    return torch.cat(list(_stripes(logits, stride, input_size, output_size)), dim=1)


def resample_labels(logits: Tensor, stride: int, input_size: tuple[int, int], output_size: tuple[int, int]) -> Tensor:
    """The winning class of every pixel: `resample_logits(...).argmax(0)` without its K planes.

    Args: as of `resample_logits`.

    Returns:
        (H, W), uint8 for up to 256 classes, else int16.
    """
    dtype = torch.uint8 if len(logits) <= 256 else torch.int16
    return torch.cat([s.argmax(0).to(dtype) for s in _stripes(logits, stride, input_size, output_size)])


def _stripes(
    logits: Tensor, stride: int, input_size: tuple[int, int], output_size: tuple[int, int]
) -> Iterator[Tensor]:
    """(K, rows, W) pieces of the resized logits, from top to bottom."""
    logits = logits.float()
    top, bottom, row_weight = _neighbours(output_size[0], input_size[0] / output_size[0] / stride, logits, -2)
    left, right, column_weight = _neighbours(output_size[1], input_size[1] / output_size[1] / stride, logits, -1)
    for start in range(0, output_size[0], STRIPE_ROWS):
        rows = slice(start, start + STRIPE_ROWS)
        weight = row_weight[rows, None]
        stripe = torch.lerp(logits[:, top[rows]], logits[:, bottom[rows]], weight)
        yield torch.lerp(stripe[:, :, left], stripe[:, :, right], column_weight)


def _neighbours(length: int, step: float, logits: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two source positions of each output position, and the weight of the second.

    Pixel centres lie at halves (align_corners=False): output i sits at (i + 0.5) * step - 0.5 of the source.
    """
    last = logits.shape[dim] - 1
    position = (torch.arange(length, device=logits.device, dtype=torch.float32) + 0.5) * step - 0.5
    position = position.clamp(0, last)
    first = position.floor().long()
    return first, (first + 1).clamp(max=last), position - first


def upsample_to(source: Tensor, like: Tensor) -> Tensor:
    """Bilinear resize of (N, C, h, w) to the height and width of `like`."""
    if source.shape[-2:] == like.shape[-2:]:
        return source
    return F.interpolate(source, size=like.shape[-2:], mode="bilinear", align_corners=False)
