"""Hooks of the training loop: evaluation, metrics, pictures for TensorBoard."""

import itertools
import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import HookBase
from detectron2.engine.hooks import EvalHook, PeriodicWriter
from detectron2.utils import comm
from detectron2.utils.events import EventWriter, get_event_storage

from unified_seg.data.io.image_files import read_picture
from unified_seg.data.problems import DataError
from unified_seg.ops.random_numbers import get_random_state, keep_random_numbers, set_random_state
from unified_seg.training.lifecycle.metrics_file import EVALUATION_SECONDS, METRICS_FILE, has_value
from unified_seg.training.lifecycle.signals import TrainingStopped
from unified_seg.training.step import unwrap
from unified_seg.visualization.overview import draw_panels

logger = logging.getLogger(__name__)


class Evaluation(EvalHook):
    """Detectron2's hook, for runs that are interrupted and resumed.

    An evaluation leaves the random numbers of the training as they are, since the checkpoint before it has them. A
    signal ends it at once, and the resumed run does it again.
    """

    _num_complete = -1  # iterations at the last evaluation

    def before_train(self) -> None:
        start, cfg = self.trainer.start_iter, self.trainer.cfg
        is_due = 0 < start < self.trainer.max_iter and self._period > 0 and start % self._period == 0
        is_due = is_due and len(cfg.DATASETS.TEST) > 0
        file = Path(cfg.OUTPUT_DIR) / METRICS_FILE
        # The first process alone knows, and all evaluate.
        if comm.all_gather(is_due and not has_value(file, EVALUATION_SECONDS, start - 1))[0]:
            self.trainer.storage.iter = start - 1
            self._do_eval()
            self._num_complete = start
            self.trainer.storage.iter = start

    def after_step(self) -> None:
        super().after_step()
        next_iteration = self.trainer.iter + 1
        if self._period > 0 and next_iteration % self._period == 0 and next_iteration != self.trainer.max_iter:
            self._num_complete = next_iteration

    def after_train(self) -> None:
        # A training that stops early was evaluated just now.
        is_new = self._num_complete != self.trainer.max_iter
        if self.trainer.iter >= self.trainer.max_iter and is_new:
            with suppress(TrainingStopped):
                self._do_eval()
        del self._func  # it refers to the trainer

    def _do_eval(self) -> None:
        start, state = time.perf_counter(), get_random_state()
        try:
            # Several processes wait for each other in it.
            with self.trainer.signals.raised_at_once() if comm.get_world_size() == 1 else nullcontext():
                super()._do_eval()
        finally:  # a signal ends it too, and a checkpoint is written
            set_random_state(state)
        if self.trainer.cfg.DATASETS.TEST:
            self.trainer.storage.put_scalar(EVALUATION_SECONDS, time.perf_counter() - start, smoothing_hint=False)


class MetricsWriter(PeriodicWriter):
    """Detectron2's hook, which also writes the scores of each evaluation at once.

    A run that is killed then does no evaluation again, and early stopping knows all scores.

    Args:
        writers: see `PeriodicWriter`.
        eval_period: iterations between evaluations; 0: none before the end.
    """

    def __init__(self, writers: Sequence[EventWriter], eval_period: int):
        super().__init__(writers)
        self._eval_period = eval_period

    def after_step(self) -> None:
        if self._eval_period > 0 and (self.trainer.iter + 1) % self._eval_period == 0:
            for writer in self._writers:
                writer.write()
        else:
            super().after_step()


def leave_out_nan(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings without their values that are NaN."""
    return {
        key: leave_out_nan(value) if isinstance(value, Mapping) else value
        for key, value in results.items()
        if isinstance(value, Mapping) or not math.isnan(value)
    }


class PictureSamples(HookBase):
    """A hook that draws the predictions for a few test images into TensorBoard every VIS_PERIOD iterations.

    Args:
        cfg: a full config; the metadata is that of the first training set, whose classes the model predicts.
        loader: of that test set.
        count: number of images.
    """

    def __init__(self, cfg: CfgNode, loader: Any, count: int = 4):
        self.period = cfg.VIS_PERIOD
        self.metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
        samples = (batch[0] for batch in itertools.islice(loader, count))
        self.samples = [sample for sample in samples if self._can_be_drawn(sample["file_name"])]

    def _can_be_drawn(self, file: str) -> bool:
        try:
            read_picture(file)
            return True
        except DataError as error:  # such as floats of an unknown range
            logger.info(f"VIS_PERIOD: not drawn: {error}")
            return False

    def after_step(self) -> None:
        if (self.trainer.iter + 1) % self.period or not self.samples:
            return
        model = unwrap(self.trainer.evaluated_model)
        model.eval()
        with torch.no_grad(), keep_random_numbers():
            outputs = model(self.samples)
        model.train()
        for index, (sample, output) in enumerate(zip(self.samples, outputs)):
            # Outputs have the size of the original image, which may differ from that of the model's input.
            picture = draw_panels(read_picture(sample["file_name"]), output, self.metadata)
            get_event_storage().put_image(f"samples/{index}", torch.from_numpy(picture.transpose(2, 0, 1).copy()))
