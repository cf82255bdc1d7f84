"""Checkpoints of a run: the weights, and all that its processes need to go on exactly."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import nn

from unified_seg.checkpoint import CheckpointError, forget_last_checkpoint, write_checkpoint
from unified_seg.checkpoint.run_folder import PERIODIC_NAME, write_last_checkpoint
from unified_seg.config.stages import FINAL_WEIGHTS
from unified_seg.inference.trained_model import describe_training
from unified_seg.ops.random_numbers import get_random_state, set_random_state
from unified_seg.training.step import TrainingDiverged, unwrap

# A checkpoint whose weights gave a loss that many times that of the first step is one of a training that diverges.
DIVERGED_FACTOR = 10.0
DIVERGED_SUFFIX = ".diverged"

logger = logging.getLogger(__name__)


class CheckpointWriter(HookBase):
    """A hook that writes a checkpoint every `period` iterations and model_final.pth at the end.

    All processes have it: the first one writes the states of all.

    Args:
        period: in iterations.
        num_kept: the number of periodic checkpoints that stay; 0: all.

    Attributes:
        num_complete: iterations of the run that are complete.
        last_saved: the iteration of the last checkpoint that this process wrote; -1 before one.
    """

    def __init__(self, period: int, num_kept: int = 0):
        self.period = period
        self.num_kept = num_kept
        self.num_complete = 0
        self.last_saved = -1

    def before_train(self) -> None:
        self.num_complete = self.trainer.start_iter

    def save_missing_end(self) -> None:
        """Write model_final.pth if no step is left that would write it."""
        # A run that was killed between its last step and model_final.pth, or one that has stopped early.
        if self.trainer.start_iter == self.trainer.max_iter and self.trainer.resumed_from != FINAL_WEIGHTS:
            self._save(self.trainer.max_iter - 1, Path(FINAL_WEIGHTS).stem)

    def after_step(self) -> None:
        self.num_complete = self.trainer.iter + 1
        if self.num_complete < self.trainer.max_iter:
            self._save_periodic()

    def save_end(self) -> None:
        """Write the checkpoints of the last iteration, after its metrics are written: no later step writes those."""
        self._save_periodic()
        self._save(self.num_complete - 1, Path(FINAL_WEIGHTS).stem)

    def save_last(self) -> None:
        """Write a checkpoint of the last complete iteration, unless there is one."""
        iteration = self.num_complete - 1
        if iteration >= self.trainer.start_iter and iteration != self.last_saved:
            self._save(iteration, f"model_{iteration:07d}")

    def write_safetensors(self) -> None:
        """With SOLVER.SAFETENSORS, write the final weights as safetensors too; else warn of an older file."""
        cfg = self.trainer.cfg
        file = Path(cfg.OUTPUT_DIR, FINAL_WEIGHTS).with_suffix(".safetensors")
        if cfg.SOLVER.SAFETENSORS:
            model = unwrap(self.trainer.evaluated_model)
            write_checkpoint(file, {"model": model.state_dict(), **describe_training(cfg)})
        elif file.is_file():
            logger.warning(f"{file}: its weights are older than those of {FINAL_WEIGHTS}; set SOLVER.SAFETENSORS")

    def set_diverged_aside(self) -> str:
        """Rename checkpoints of weights that had diverged already, so that nothing resumes from them.

        Returns:
            The checkpoint from which the run resumes now; "" if there is none.
        """
        folder, start = Path(self.trainer.cfg.OUTPUT_DIR), self.trainer.start_iter
        history = self.trainer.storage.histories().get("total_loss")
        losses = [] if history is None else history.values()
        limit = DIVERGED_FACTOR * next((loss for loss, _ in losses if loss > 0), 0.0)
        # The weights after iteration i gave the loss of iteration i + 1.
        last_sound = max((iteration for loss, iteration in losses if loss <= limit), default=start)
        numbers = {int(match[1]): file for file in folder.iterdir() if (match := PERIODIC_NAME.fullmatch(file.name))}
        for number, file in numbers.items():
            if number >= last_sound and number >= start:
                file.rename(file.with_name(file.name + DIVERGED_SUFFIX))
                logger.warning(f"{file}: its weights have diverged already; renamed, so that nothing resumes from them")
        sound = [number for number in numbers if (folder / numbers[number].name).exists()]
        if not sound:
            forget_last_checkpoint(folder)
            return ""
        name = numbers[max(sound)].name
        write_last_checkpoint(folder, name)
        return name

    def _save_periodic(self) -> None:
        if self.num_complete % self.period == 0 and self.last_saved != self.num_complete - 1:
            self._save(self.num_complete - 1, f"model_{self.num_complete - 1:07d}")
            if self.num_kept and comm.is_main_process():
                self._delete_older()

    def _delete_older(self) -> None:
        """Delete periodic checkpoints, up to this iteration, but the last ones and the one that the run began with."""
        folder = Path(self.trainer.cfg.OUTPUT_DIR)
        numbers = {int(match[1]): file for file in folder.iterdir() if (match := PERIODIC_NAME.fullmatch(file.name))}
        earlier = sorted(number for number in numbers if number < self.num_complete)
        for number in earlier[: -self.num_kept]:
            if numbers[number].name != self.trainer.resumed_from:
                numbers[number].unlink()

    def _save(self, iteration: int, name: str) -> None:
        trainer = self.trainer
        own = {"random": get_random_state(), "stream": get_stream_state(trainer.data_loader)}
        states = comm.gather(own)
        if comm.is_main_process():
            check_finite(unwrap(trainer.evaluated_model), iteration)
            trainer.checkpointer.save(name, iteration=iteration, run=trainer.run_id, processes=states)
        self.last_saved = iteration


def check_finite(model: nn.Module, iteration: int) -> None:
    """Raise TrainingDiverged if a weight is not finite: such weights are never saved."""
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise TrainingDiverged(
                f"the training diverged at iteration={iteration}: {name} has values that are not finite"
            )


def get_stream_state(loader: Any) -> dict[str, Any] | None:
    """Return the position of a loader; None for one that has none, such as Detectron2's own."""
    return loader.state_dict() if hasattr(loader, "state_dict") else None


def load_process_state(checkpoint: Mapping[str, Any], loader: Any) -> Mapping[str, Any] | None:
    """Let the loader of this process go on with the image at which the run stopped.

    If the run had another number of processes, the images go on after those that were taken, in the same order, and
    each process has new random numbers.

    Args:
        checkpoint: without the weights.
        loader: of this process.

    Returns:
        The random numbers with which the process goes on; None for a checkpoint that has none for it.

    Raises:
        CheckpointError: the states of the processes are damaged.
    """
    try:
        state = _select_state(checkpoint.get("processes"))
        stream = state.get("stream")
        if stream is not None and hasattr(loader, "load_state_dict"):
            loader.load_state_dict(stream)
        elif "iteration" in checkpoint:
            logger.warning("--resume: the checkpoint does not say which images come next: their order starts anew")
        if (numbers := state.get("random")) is not None:
            set_random_state(numbers)
        return numbers
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"--resume: the state of a process is damaged: {error!r:.200}") from None


def _select_state(states: Any) -> Mapping[str, Any]:
    """Return the state of this process, of those of all processes of a run; see `load_process_state`."""
    if states is None:
        return {}
    count = comm.get_world_size()
    if len(states) == count:
        return states[comm.get_rank()]
    streams = [state["stream"] for state in states]
    if None in streams:
        return {}
    taken = sum(stream["next"] for stream in streams)
    return {"stream": {**streams[0], "next": -(-taken // count), "waiting": []}}
