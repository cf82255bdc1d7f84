"""Logits of a padded input at every pixel of an output, by the functions of ops.resampling."""

from collections.abc import Callable

from torch import Tensor

from unified_seg.ops.resampling import Positions, compute_positions, sample_logits

Size = tuple[int, int]


def resize(
    logits: Tensor,
    stride: int,
    input_size: Size,
    output_size: Size,
    sample: Callable[[Tensor, Positions, Positions], Tensor] = sample_logits,
) -> Tensor:
    rows, columns = (
        compute_positions(*sides, stride, cells) for *sides, cells in zip(output_size, input_size, logits.shape[1:])
    )
    return sample(logits, rows, columns)
