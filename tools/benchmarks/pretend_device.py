"""A pretended accelerator: tensors that hold CPU data and report the device "pretend:0".

Code that would fail on a GPU fails on it too: operators that mix its tensors with CPU tensors, `.numpy()` without
`.cpu()`, `torch.tensor` of a list of its scalars. Its results are those of the CPU, so code with another branch for
other devices can be compared with its CPU branch. It also counts what a GPU waits for: the operators that are launched
and the synchronizations, in which the CPU waits for the device.

    model = move_module(build_model(cfg))
    with PretendDevice() as device:
        losses = model(batch)
    print(device.counts)
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import FrameType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "pretend"
DEVICE: torch.device
LIBRARY = "unified_seg"
aten = torch.ops.aten

# Operators that accept CPU tensors beside those of a device.
_MIXING = {
    *(aten.copy_.default, aten._to_copy.default, aten.index.Tensor),
    *(aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default),
}
# Operators that wait for the device although PyTorch does not tag them as dependent on data.
_WAITING = {"_local_scalar_dense", "equal", "is_nonzero", "nms"}
_SHAPED_BY_DATA = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}


@dataclass
class Counts:
    """What was run on the device.

    Attributes:
        operators: all operators, views included.
        views: the operators that only make a view, for which a GPU launches nothing.
        waits: the synchronizations by (operator, whose): whose is "unified_seg" for calls from this library, else the
            name of the calling package ("detectron2"), or "autograd" where the backward pass calls it.
    """

    operators: int = 0
    views: int = 0
    waits: Counter[tuple[str, str]] = field(default_factory=Counter)

    def synchronizations(self, own: bool | None = None) -> int:
        """Return the number of synchronizations; `own`: only those of this library, or only those of others."""
        return sum(n for (_, whose), n in self.waits.items() if own is None or own == (whose == LIBRARY))


class PretendTensor(Tensor):
    """A tensor on the pretended device; `held` is its CPU data."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "PretendTensor":
        result = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        result.held = held
        return result

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"PretendTensor({self.held!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"can't convert a tensor on {DEVICE} to numpy: copy it to the CPU first")

    __array__ = numpy


class PretendDevice(TorchDispatchMode):
    """Make `device=` and `.to()` work for the pretended device, and count what is run on it.

    Attributes:
        counts: of what ran since the context was entered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()

    def __enter__(self) -> Self:
        global _counts
        self.counts = _counts = Counts()
        return super().__enter__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_pretended(kwargs.get("device")) or any(isinstance(x, PretendTensor) for x in _leaves(args, kwargs)):
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


def move_module(module: nn.Module) -> nn.Module:
    """Move the parameters and buffers of a module to the pretended device, in place."""
    moved: dict[nn.Parameter, nn.Parameter] = {}  # modules may share parameters
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and not isinstance(parameter.data, PretendTensor):
                if parameter not in moved:
                    data = PretendTensor(parameter.detach().clone())
                    moved[parameter] = nn.Parameter(data, requires_grad=parameter.requires_grad)
                part._parameters[name] = moved[parameter]
        for name, buffer in part._buffers.items():
            if buffer is not None and not isinstance(buffer, PretendTensor):
                part._buffers[name] = PretendTensor(buffer.detach().clone())
    return module


_counts = Counts()


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operator on the data that the tensors hold; wrap its results if they are on the device."""
    flat = list(_leaves(args, kwargs))
    _check_devices(func, args, flat)
    _count(func, args, kwargs)
    held_args = _map(_unwrap, args)
    held_kwargs = {key: _map(_unwrap, value) for key, value in kwargs.items() if key != "pin_memory"}
    result = func(*held_args, **held_kwargs)
    if _changes_shape(func) and isinstance(args[0], PretendTensor):
        with no_dispatch():
            func(*args, **kwargs)  # the shape of the tensor itself
        return args[0]
    if _is_mutable(func) and isinstance(result, Tensor):
        for given, held in zip(args, held_args):
            if held is result:
                return given
    if not _returns_to_device(func, args, kwargs, flat):
        return result
    return _map(lambda x: PretendTensor(x) if isinstance(x, Tensor) else x, result)


def _leaves(args: Any, kwargs: dict[str, Any]) -> Iterator[Any]:
    """Yield the arguments of an operator, those in lists one by one; PyTorch's tree_flatten takes ten times as long."""
    for x in (*args, *kwargs.values()):
        if isinstance(x, (list, tuple)):
            yield from _leaves(x, {})
        else:
            yield x


def _map(change: Callable[[Any], Any], x: Any) -> Any:
    """Change a value, or each of those in a list or tuple."""
    return type(x)([_map(change, each) for each in x]) if isinstance(x, (list, tuple)) else change(x)


def _check_devices(func: Any, args: Any, flat: list[Any]) -> None:
    """Raise RuntimeError where CUDA does: scalars alone may be on the CPU, and indices of tensors on the device."""
    on_device = [x for x in flat if isinstance(x, PretendTensor)]
    on_cpu = [x for x in flat if isinstance(x, Tensor) and not isinstance(x, PretendTensor) and x.dim() > 0]
    if not on_device or not on_cpu:
        return
    if func not in _MIXING:
        shapes = ", ".join(str(tuple(x.shape)) for x in on_cpu)
        raise RuntimeError(f"expected all tensors on the same device: {func} mixes {DEVICE} with the CPU ({shapes})")
    if func is aten.index.Tensor and not isinstance(args[0], PretendTensor):
        raise RuntimeError(f"{func}: indices on {DEVICE} for a tensor on the CPU")


def _returns_to_device(func: Any, args: Any, kwargs: dict[str, Any], flat: list[Any]) -> bool:
    if func is aten.copy_.default:
        return isinstance(args[0], PretendTensor)
    if kwargs.get("device") is not None:
        return _is_pretended(kwargs["device"])
    return any(isinstance(x, PretendTensor) for x in flat)


def _count(func: Any, args: Any, kwargs: dict[str, Any]) -> None:
    _counts.operators += 1
    _counts.views += _is_view(func)
    if _waits(func, args, kwargs):
        _counts.waits[func.overloadpacket.__name__, _find_caller()] += 1


@cache
def _changes_shape(func: Any) -> bool:
    return torch.Tag.inplace_view in func.tags


@cache
def _is_mutable(func: Any) -> bool:
    return func._schema.is_mutable


@cache
def _is_view(func: Any) -> bool:
    returned = [each.alias_info for each in func._schema.returns]
    return any(info is not None and not info.is_write for info in returned)


def _waits(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    name = func.overloadpacket.__name__
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        indices = [x for x in args[1] if x is not None]
        masks = [x for x in indices if x.dtype in (torch.bool, torch.uint8)]
        # A GPU fills under a mask with a number at once, without the indices of the mask.
        is_fill = name != "index" and len(masks) == len(indices) and args[2].dim() == 0
        # Indices on the CPU are copied to the device first.
        return (bool(masks) and not is_fill) or not all(isinstance(x, PretendTensor) for x in indices)
    if name in ("copy_", "_to_copy"):
        source = args[1] if name == "copy_" else args[0]
        to_device = (
            isinstance(args[0], PretendTensor) if name == "copy_" else _returns_to_device(func, args, kwargs, args)
        )
        waits = not kwargs.get("non_blocking", len(args) > 2 and args[2])
        return waits and isinstance(source, PretendTensor) != to_device
    return name in _WAITING or _is_shaped_by_data(func)


@cache
def _is_shaped_by_data(func: Any) -> bool:
    return not _SHAPED_BY_DATA.isdisjoint(func.tags)


def _find_caller() -> str:
    """Return the package of the innermost frame that is not part of PyTorch."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "").partition(".")[0]
        if name not in ("torch", "torchvision") and frame.f_code.co_filename != __file__:
            return name
        frame = frame.f_back
    return "autograd"


def _is_pretended(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _unwrap(x: Any) -> Any:
    if isinstance(x, PretendTensor):
        return x.held
    return torch.device("cpu") if isinstance(x, torch.device) and x.type == NAME else x


def _register() -> list[torch.library.Library]:
    """Give the private backend of PyTorch its name and kernels; return what keeps them."""
    backend_registration._setup_privateuseone_for_python_backend(rename=NAME)
    everything, some = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(lambda func, *args, **kwargs: _run(func, args, kwargs), "PrivateUse1")

    def empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
        return PretendTensor(torch.empty_strided(size, stride, dtype=dtype))

    def empty(size: Any, *, dtype: Any = None, **_: Any) -> Tensor:
        return PretendTensor(torch.empty(size, dtype=dtype))

    def copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
        _unwrap(target).copy_(_unwrap(source))
        return target

    some.impl("empty_strided", empty_strided, "PrivateUse1")
    some.impl("empty.memory_format", empty, "PrivateUse1")
    some.impl("_copy_from", copy_from, "PrivateUse1")
    return [everything, some]


_LIBRARIES = _register()
DEVICE = torch.device(NAME, 0)
