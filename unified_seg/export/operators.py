"""Operators that exporters do not know, or know for fixed sizes alone, in terms of others.

Training and prediction in PyTorch keep the original operators: while a network is exported, `exportable_operators`
replaces them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class exportable_operators(TorchFunctionMode):
    """A context in which calls of `torch.nn.functional` use operators that can be exported for any size."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return REPLACEMENTS.get(func, func)(*args, **(kwargs or {}))


def average_to(x: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """Average (N, C, H, W) to a grid of bins, as `adaptive_avg_pool2d` does."""
    if output_size in (1, (1, 1)):
        return x.mean((2, 3), keepdim=True)
    if kernel := _find_kernel(x, output_size):
        return F.avg_pool2d(x, kernel)
    rows, columns = (_share(x, dim, bins) for dim, bins in zip((2, 3), _to_pair(output_size)))
    return rows @ x @ columns.T


def maximum_to(x: Tensor, output_size: int | Sequence[int], return_indices: bool = False) -> Tensor:
    """Take the maximum of each bin of a grid, as `adaptive_max_pool2d` does."""
    if kernel := _find_kernel(x, output_size):
        return F.max_pool2d(x, kernel)
    for dim, bins in zip((2, 3), _to_pair(output_size)):
        shape = [1, 1, 1, 1]
        shape[dim] = -1
        parts = [x.masked_fill(~row.view(shape), -torch.inf).amax(dim, keepdim=True) for row in _members(x, dim, bins)]
        x = torch.cat(parts, dim)
    return x


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return `scaled_dot_product_attention` of (N, L, C), (N, T, C) and (N, T, C')."""
    return (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1) @ value


REPLACEMENTS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.adaptive_avg_pool2d: average_to,
    F.adaptive_max_pool2d: maximum_to,
    F.scaled_dot_product_attention: attend,
}


def _to_pair(size: int | Sequence[int]) -> Sequence[int]:
    return (size, size) if isinstance(size, int) else size


def _find_kernel(x: Tensor, output_size: int | Sequence[int]) -> list[int] | None:
    """Return the sides of the bins if they tile the input; None if they don't, or if the size of the input is open.

    An output of an open size is that of a feature map, whose bins have the sides of its stride.
    """
    pairs = list(zip(x.shape[2:], _to_pair(output_size)))
    if any(isinstance(bins, int) and not isinstance(length, int) for length, bins in pairs):
        return None
    if any(length % bins != 0 for length, bins in pairs):
        return None
    return [int(length // bins) for length, bins in pairs]


def _members(x: Tensor, dim: int, bins: int) -> Tensor:
    """Return (bins, L) bool, which positions along a dimension belong to each bin; bins may overlap."""
    length = x.shape[dim]
    position = torch.arange(length, device=x.device)
    index = torch.arange(bins, device=x.device)[:, None]
    first, last = index * length // bins, ((index + 1) * length + bins - 1) // bins
    return (position >= first) & (position < last)


def _share(x: Tensor, dim: int, bins: int) -> Tensor:
    """Return (bins, L), the weights that average the positions of each bin."""
    members = _members(x, dim, bins).to(x.dtype)
    return members / members.sum(1, keepdim=True)
