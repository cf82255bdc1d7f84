"""Backward passes in float32 for two operations that are slow in bfloat16 on CPUs.

Measured with torch 2.14 on a CPU with AVX512-BF16, one thread, channels-last maps: the gradient of the weights of a
depthwise 5x5 convolution takes 32 ms in bfloat16 and 5 ms in float32, the backward pass of a group norm 26 ms and 7 ms.
The forward passes are as fast or faster in bfloat16, so they stay. So do small depthwise kernels of stride 1, and group
norms of contiguous maps, which are fast in bfloat16.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class Float32Backward(TorchFunctionMode):
    """A context in which depthwise convolutions and group norms of bfloat16 maps have a backward pass in float32.

    The results of the forward pass are the same bits. Gradients are at least as exact as in bfloat16. Checkpointing of
    activations must be reentrant: other forms recompute the forward pass outside this context.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if (replacement := _REPLACEMENTS.get(func)) is not None and torch.is_grad_enabled():
            return replacement(*args, **kwargs)
        return func(*args, **kwargs)


def _convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve, with the arguments of `F.conv2d`."""
    is_depthwise = groups > 1 and weight.shape[:2] == (groups, 1)
    if not is_depthwise or not _is_bfloat16_on_cpu(input) or isinstance(padding, str):
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    stride, padding, dilation = _to_pair(stride), _to_pair(padding), _to_pair(dilation)
    if max(*stride, *dilation) == 1 and max(weight.shape[2:]) <= 3:
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    return _DepthwiseConvolution.apply(input, weight, bias, stride, padding, dilation)


def _normalize(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalize, with the arguments of `F.group_norm`."""
    has_one_group_or_value = num_groups == 1 or input.numel() <= num_groups
    is_fast = not _is_bfloat16_on_cpu(input) or input.is_contiguous() or has_one_group_or_value
    if weight is None or bias is None or is_fast:
        return F.group_norm(input, num_groups, weight, bias, eps)
    return _GroupNorm.apply(input, weight, bias, num_groups, eps)


def _is_bfloat16_on_cpu(map: Tensor) -> bool:
    return map.dtype is torch.bfloat16 and map.device.type == "cpu" and map.ndim == 4


def _to_pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


class _DepthwiseConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        map: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(map, weight)
        ctx.has_bias, ctx.geometry = bias is not None, (stride, padding, dilation)
        weight, bias = weight.to(map.dtype), None if bias is None else bias.to(map.dtype)
        return F.conv2d(map, weight, bias, stride, padding, dilation, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        map, weight = ctx.saved_tensors
        grad_map, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            _to_float32(gradient),
            _to_float32(map),
            weight.float(),
            [len(weight)] if ctx.has_bias else None,
            *ctx.geometry,
            False,  # not transposed
            (0, 0),
            len(weight),
            (*ctx.needs_input_grad[:2], ctx.has_bias and ctx.needs_input_grad[2]),
        )
        return None if grad_map is None else grad_map.to(map.dtype), grad_weight, grad_bias, None, None, None


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, map: Tensor, weight: Tensor, bias: Tensor, num_groups: int, eps: float) -> Tensor:
        count, channels = map.shape[:2]
        ctx.sizes = (count, channels, map.numel() // (count * channels), num_groups)
        result, mean, scale = torch.ops.aten.native_group_norm(map, weight, bias, *ctx.sizes, eps)
        ctx.save_for_backward(map, weight, mean, scale)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        map, weight, mean, scale = ctx.saved_tensors
        grad_map, grad_weight, grad_bias = torch.ops.aten.native_group_norm_backward(
            _to_float32(gradient),
            _to_float32(map),
            mean.float(),
            scale.float(),
            weight.float(),
            *ctx.sizes,
            ctx.needs_input_grad[:3],
        )
        return None if grad_map is None else grad_map.to(map.dtype), grad_weight, grad_bias, None, None


def _to_float32(map: Tensor) -> Tensor:
    """Return a map in float32 and channels-last order, in which both backward passes are faster."""
    return map.float().contiguous(memory_format=torch.channels_last)


_REPLACEMENTS: Mapping[Callable[..., Any], Callable[..., Tensor]] = {F.conv2d: _convolve, F.group_norm: _normalize}
