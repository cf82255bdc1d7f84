"""The stage of a pipeline that runs the network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from unified_seg.inference.pipeline import Stage
from unified_seg.meta_arch import UnifiedSegmentor

# Each image that is predicted at the same time as others takes the memory of one.
MAX_AT_ONCE = 4


@contextmanager
def prediction_stage(predict: Callable[[Any], Any], model: nn.Module, at_once: int = 0) -> Iterator[Stage]:
    """Make a stage that predicts without gradients.

    On a GPU it has one thread. On a CPU it has several, which share the cores: two images with one core each take less
    time than one after the other with two cores.

    Args:
        predict: runs the model on what the stage takes.
        model: in inference mode.
        at_once: the number of images that are predicted at the same time on a CPU; 0 = a number of cores, at most
            MAX_AT_ONCE.
    """
    cores = torch.get_num_threads()
    # Of other models it isn't known whether they may run in several threads; several views share a part's state.
    alone = not isinstance(model, UnifiedSegmentor) or model.device.type != "cpu"
    threads = 1 if alone else at_once or min(cores, MAX_AT_ONCE)
    try:
        yield Stage(torch.no_grad()(predict), threads, partial(torch.set_num_threads, max(1, cores // threads)))
    finally:
        torch.set_num_threads(cores)
