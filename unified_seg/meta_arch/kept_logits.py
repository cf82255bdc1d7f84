"""Outputs with the logits of the semantic head, for readers of probabilities."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from unified_seg.meta_arch.unified_segmentor import UnifiedSegmentor


@contextmanager
def keep_logits(model: nn.Module) -> Iterator[None]:
    """Let each UnifiedSegmentor in a model add `semantic_logits` to its compact outputs, see `keeps_logits`."""
    parts = [module for module in model.modules() if isinstance(module, UnifiedSegmentor)]
    before = [part.keeps_logits for part in parts]
    for part in parts:
        part.keeps_logits = True
    try:
        yield
    finally:
        for part, value in zip(parts, before):
            part.keeps_logits = value
