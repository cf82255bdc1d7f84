"""Hooks of the training loop: evaluation, best checkpoint, pictures for TensorBoard."""

import itertools
import logging
import math
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import HookBase
from detectron2.engine.hooks import EvalHook
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from detectron2.utils.logger import log_first_n

from unified_seg.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from unified_seg.config import ConfigError
from unified_seg.data.io.image_files import read_picture
from unified_seg.inference.trained_model import describe_training
from unified_seg.ops.random_numbers import get_random_state, set_random_state
from unified_seg.training.lifecycle.metrics_file import METRICS_FILE, has_value
from unified_seg.training.lifecycle.signals import TrainingStopped
from unified_seg.training.step import unwrap
from unified_seg.visualization.overview import draw_panels
from unified_seg.words import ON_CONSOLE

# In metrics.json: how long the evaluation of an iteration took, which shows that it was done.
EVALUATION_SECONDS = "eval_s"
EXPECTED_METRIC = "expected a path such as sem_seg/mIoU, with several test sets <data set>/sem_seg/mIoU"

logger = logging.getLogger(__name__)


class Evaluation(EvalHook):
    """Detectron2's hook, for runs that are interrupted and resumed.

    An evaluation leaves the random numbers of the training as they are, since the checkpoint before it has them. A
    signal ends it at once, and the resumed run does it again.
    """

    def before_train(self) -> None:
        start, cfg = self.trainer.start_iter, self.trainer.cfg
        is_due = 0 < start < self.trainer.max_iter and self._period > 0 and start % self._period == 0
        is_due = is_due and len(cfg.DATASETS.TEST) > 0
        file = Path(cfg.OUTPUT_DIR) / METRICS_FILE
        # The first process alone knows, and all evaluate.
        if comm.all_gather(is_due and not has_value(file, EVALUATION_SECONDS, start - 1))[0]:
            self.trainer.storage.iter = start - 1
            self._do_eval()
            self.trainer.storage.iter = start

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:
            with suppress(TrainingStopped):
                self._do_eval()
        del self._func  # it refers to the trainer

    def _do_eval(self) -> None:
        start, state = time.perf_counter(), get_random_state()
        # Several processes wait for each other in it.
        with self.trainer.signals.raised_at_once() if comm.get_world_size() == 1 else nullcontext():
            super()._do_eval()
        set_random_state(state)
        if self.trainer.cfg.DATASETS.TEST:
            self.trainer.storage.put_scalar(EVALUATION_SECONDS, time.perf_counter() - start, smoothing_hint=False)


def leave_out_nan(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings without their values that are NaN."""
    return {
        key: leave_out_nan(value) if isinstance(value, Mapping) else value
        for key, value in results.items()
        if isinstance(value, Mapping) or not math.isnan(value)
    }


class BestCheckpoint(HookBase):
    """A hook that keeps the weights of the best evaluation so far as model_best.pth.

    The file holds weights alone; `last_checkpoint`, from which a run resumes, is not changed. A score that is NaN, or
    whose task has no scores since its ground truth is missing or its evaluator failed, is never the best.

    Args:
        metric: its path in the results, "task/metric" or "dataset/task/metric"; larger is better.
        folder: of the file.
        datasets: the test sets; the best score on others does not count when a run is resumed.
        tasks: those that the model predicts, which an evaluation may lack.

    Raises:
        ConfigError: the evaluation has no such metric or data set.
    """

    def __init__(self, metric: str, folder: str, datasets: Sequence[str] = (), tasks: Collection[str] = ()):
        start, separator, _ = metric.partition("/")
        if not separator or (len(datasets) > 1 and start not in datasets):
            raise ConfigError(f"TEST.BEST_CHECKPOINT_METRIC: {EXPECTED_METRIC}, got {metric!r}")
        self.metric = metric
        self.datasets = list(datasets)
        self.tasks = tasks
        self.path = Path(folder) / "model_best.pth"
        self.best = -math.inf
        self._seen: object = None

    def before_train(self) -> None:
        # The best score is read from the file of the best: checkpoints are written before evaluations.
        if self.trainer.start_iter > 0 and self.path.is_file():
            try:
                earlier = read_checkpoint(self.path)
            except CheckpointError as error:
                logger.warning(f"TEST.BEST_CHECKPOINT_METRIC: the best score starts anew: {error}")
                earlier = {}
            if earlier.get("datasets", self.datasets) == self.datasets:
                best = earlier.get(self.metric)
                self.best = best if isinstance(best, float) and not math.isnan(best) else -math.inf
        self._update()  # with an evaluation that the run had not finished

    def after_step(self) -> None:
        self._update()

    def after_train(self) -> None:
        self._update()

    def _update(self) -> None:
        results = getattr(self.trainer, "_last_eval_results", None)
        if results is None or results is self._seen:
            return
        self._seen = results
        value = self._find_value(results)
        if math.isnan(value):
            message = f"TEST.BEST_CHECKPOINT_METRIC: {self.metric} is undefined, so {self.path.name} stays as it is"
            log_first_n(logging.WARNING, message, key="message")
        elif value > self.best:
            self.best = value
            model = unwrap(self.trainer.evaluated_model).state_dict()
            state: dict[str, Any] = {"model": model, "datasets": self.datasets, self.metric: self.best}
            state |= describe_training(self.trainer.cfg)
            write_checkpoint(self.path, state)
            if self.trainer.cfg.SOLVER.SAFETENSORS:
                write_checkpoint(self.path.with_suffix(".safetensors"), state)
            logger.info(f"best {self.metric} so far: {self.best:.2f}, saved as {self.path}", extra=ON_CONSOLE)

    def _find_value(self, results: Mapping[str, Any]) -> float:
        """Return the score of the metric; NaN if its task has no scores."""
        value: Any = results
        *parents, last = self.metric.split("/")
        for part in parents:
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None and parents and parents[-1] in self.tasks:
            return math.nan
        if not isinstance(value, Mapping) or last not in value:
            raise ConfigError(
                f"TEST.BEST_CHECKPOINT_METRIC: the evaluation has no metric {self.metric!r}; {EXPECTED_METRIC}"
            )
        return float(value[last])


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
        self.samples = [batch[0] for batch in itertools.islice(loader, count)]

    def after_step(self) -> None:
        if (self.trainer.iter + 1) % self.period:
            return
        model = unwrap(self.trainer.evaluated_model)
        model.eval()
        with torch.no_grad():
            outputs = model(self.samples)
        model.train()
        for index, (sample, output) in enumerate(zip(self.samples, outputs)):
            # Outputs have the size of the original image, which may differ from that of the model's input.
            picture = draw_panels(read_picture(sample["file_name"]), output, self.metadata)
            get_event_storage().put_image(f"samples/{index}", torch.from_numpy(picture.transpose(2, 0, 1).copy()))
