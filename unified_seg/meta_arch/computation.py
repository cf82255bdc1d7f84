"""How the network computes: the memory format of its maps, and bfloat16 on CPUs that have it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Instances
from torch import Tensor, nn

from unified_seg.config import ConfigError
from unified_seg.layers.float32_backward import Float32Backward

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
CPU_PRECISIONS = ("float32", "bfloat16")
# Of torch.cpu.get_capabilities: instructions that multiply bfloat16.
BFLOAT16_CAPABILITIES = ("avx512_bf16", "amx_bf16")


def choose_memory_format(cfg: CfgNode) -> torch.memory_format:
    """Return the memory format of MODEL.UNIFIED.MEMORY_FORMAT; "auto" is channels last on CPUs with bfloat16.

    Raises:
        ConfigError: an unknown one.
    """
    name = cfg.MODEL.UNIFIED.MEMORY_FORMAT
    if name == "auto":
        # Measured on CPUs with AVX-512 and AVX2: a training step is faster on the former and not on the latter.
        name = "channels_last" if cfg.MODEL.DEVICE == "cpu" and has_bfloat16() else "contiguous"
    return MEMORY_FORMATS[_check("MEMORY_FORMAT", name, tuple(MEMORY_FORMATS))]


def uses_bfloat16(cfg: CfgNode) -> bool:
    """Return whether the network computes in bfloat16 by MODEL.UNIFIED.CPU_PRECISION; on GPUs it never does.

    Raises:
        ConfigError: an unknown precision.
    """
    name = cfg.MODEL.UNIFIED.CPU_PRECISION
    if name == "auto":
        name = "bfloat16" if has_bfloat16() else "float32"
    return _check("CPU_PRECISION", name, CPU_PRECISIONS) == "bfloat16" and cfg.MODEL.DEVICE == "cpu"


def has_bfloat16() -> bool:
    """Return whether this CPU has instructions for bfloat16; without them it is slower than float32."""
    query = getattr(torch.cpu, "get_capabilities", None)  # absent in older versions of PyTorch
    if query is not None:
        found = query()
        return any(found.get(name, False) for name in BFLOAT16_CAPABILITIES)
    return getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def _check(key: str, name: str, known: tuple[str, ...]) -> str:
    if name not in known:
        raise ConfigError(f"MODEL.UNIFIED.{key} must be auto or one of {', '.join(known)}, got {name!r}")
    return name


@contextmanager
def compute_in(bfloat16: bool) -> Iterator[None]:
    """Compute in bfloat16 on the CPU where that is safe, as autocast chooses; False changes nothing."""
    if not bfloat16:
        yield
        return
    with torch.autocast("cpu", dtype=torch.bfloat16), Float32Backward():
        yield


def pool_exactly(roi_heads: nn.Module) -> None:
    """Make ROI heads pool maps of bfloat16 in float32.

    Detectron2 rounds the boxes to the type of the maps: in bfloat16 to 8 bits, which are 4 pixels at 1,000.
    """
    for module in roi_heads.modules():
        if isinstance(module, ROIPooler):
            module.register_forward_pre_hook(_widen_maps)


def _widen_maps(_: nn.Module, inputs: tuple[list[Tensor], Any]) -> tuple[list[Tensor], Any]:
    maps, *others = inputs
    return [map.float() if map.dtype is torch.bfloat16 else map for map in maps], *others


def to_plain(values: Tensor) -> Tensor:
    """Return a map as what follows the network expects it: contiguous, and float32 if it holds floats."""
    return (values.float() if values.is_floating_point() else values).contiguous()


def to_plain_instances(instances: Instances) -> Instances:
    """Return instances whose scores, masks and boxes are float32."""
    result = Instances(instances.image_size)
    for name, value in instances.get_fields().items():
        if name == "pred_boxes":
            value = type(value)(value.tensor.float())
        elif isinstance(value, Tensor):
            value = to_plain(value)
        result.set(name, value)
    return result
