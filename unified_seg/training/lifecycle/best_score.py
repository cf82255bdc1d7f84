"""The score of a run that counts: its best weights are kept, and the run stops when it rises no more."""

import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils import comm
from detectron2.utils.logger import log_first_n

from unified_seg.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from unified_seg.config import ConfigError
from unified_seg.inference.trained_model import describe_training
from unified_seg.training.lifecycle.best_metric import choose_metric
from unified_seg.training.lifecycle.metrics_file import EVALUATION_SECONDS, METRICS_FILE, read_lines
from unified_seg.training.lifecycle.schedule import is_evaluated_before_end
from unified_seg.training.step import unwrap
from unified_seg.words import ON_CONSOLE

EXPECTED_METRIC = "expected a path such as sem_seg/mIoU, with several test sets <data set>/sem_seg/mIoU"

logger = logging.getLogger(__name__)


def find_metric(cfg: CfgNode) -> str:
    """Return the metric of the best weights and of early stopping; "" if there is none.

    Raises:
        ConfigError: early stopping without a metric, or without an evaluation before the end.
    """
    is_watched = is_evaluated_before_end(cfg, cfg.TEST.EVAL_PERIOD, cfg.SOLVER.MAX_ITER)
    metric = cfg.TEST.BEST_CHECKPOINT_METRIC
    if metric == "auto":
        metric = choose_metric(cfg) if is_watched else ""
    if cfg.SOLVER.EARLY_STOPPING.PATIENCE and not (metric and is_watched):
        raise ConfigError(
            "SOLVER.EARLY_STOPPING.PATIENCE: there is no score to watch; set TEST.EVAL_PERIOD, below SOLVER.MAX_ITER "
            f"{cfg.SOLVER.MAX_ITER}, and TEST.BEST_CHECKPOINT_METRIC"
        )
    return metric


def find_score(results: Mapping[str, Any], metric: str, tasks: Collection[str]) -> float:
    """Return the score of a metric; NaN if its task has no scores.

    Args:
        results: of an evaluation.
        metric: its path, see `BestCheckpoint`.
        tasks: those that the model predicts, which an evaluation may lack.

    Raises:
        ConfigError: there is no such metric.
    """
    names = metric.split("/")
    # Before the metric are: nothing, a task, or a data set and a task. The name of a class may have a slash.
    for count in range(3):
        scores: Any = results
        for name in names[:count]:
            scores = scores.get(name) if isinstance(scores, Mapping) else None
        if scores is None and names[count - 1] in tasks:
            return math.nan
        value = scores.get("/".join(names[count:])) if isinstance(scores, Mapping) else None
        if value is not None and not isinstance(value, Mapping):
            return float(value)
    raise ConfigError(f"TEST.BEST_CHECKPOINT_METRIC: the evaluation has no metric {metric!r}; {EXPECTED_METRIC}")


class _ScoreHook(HookBase):
    """A hook that gets the results of each evaluation, also of the one that a resumed run does before its first step.

    Args:
        metric, tasks: see `find_score`.
    """

    def __init__(self, metric: str, tasks: Collection[str]):
        self.metric = metric
        self.tasks = tasks
        self._seen: object = None

    def _find_new_score(self) -> float | None:
        """Return the score of the last evaluation; None if it was returned before."""
        results = getattr(self.trainer, "_last_eval_results", None)
        if results is None or results is self._seen:
            return None
        self._seen = results
        return find_score(results, self.metric, self.tasks)


class BestCheckpoint(_ScoreHook):
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
        super().__init__(metric, tasks)
        self.datasets = list(datasets)
        self.path = Path(folder) / "model_best.pth"
        self.best = -math.inf

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
        value = self._find_new_score()
        if value is None:
            return
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


class EarlyStopping(_ScoreHook):
    """A hook of all processes that ends the training after evaluations without a better score.

    Its state is the scores in metrics.json, so that a resumed run counts on, wherever it was interrupted. A score that
    is undefined is no better one.

    Args:
        metric, tasks: see `BestCheckpoint`.
        patience: evaluations in a row without a better score after which the training ends.
        min_delta: by which a better score is larger.
    """

    def __init__(self, metric: str, patience: int, min_delta: float = 0.0, tasks: Collection[str] = ()):
        super().__init__(metric, tasks)
        self.patience = patience
        self.min_delta = min_delta
        self.best = -math.inf
        self.num_without_rise = 0

    def before_train(self) -> None:
        if comm.is_main_process() and self.trainer.start_iter > 0:
            for score in read_scores(Path(self.trainer.cfg.OUTPUT_DIR) / METRICS_FILE, self.metric):
                self._count(score)
        if 0 < self.trainer.start_iter < self.trainer.max_iter:
            self._update(self.trainer.start_iter)

    def after_step(self) -> None:
        next_iteration = self.trainer.iter + 1
        period = self.trainer.cfg.TEST.EVAL_PERIOD
        if next_iteration < self.trainer.max_iter and next_iteration % period == 0:
            self._update(next_iteration)

    def _update(self, num_complete: int) -> None:
        """Count an evaluation, and let the training end after this number of iterations if it was one too many."""
        if comm.is_main_process() and (score := self._find_new_score()) is not None:
            self._count(score)
        if comm.all_gather(self.num_without_rise >= self.patience)[0]:
            self.trainer.max_iter = num_complete
            logger.info(
                f"early stopping after {num_complete} iterations: {self.metric} has not risen above {self.best:.2f} in "
                f"{self.num_without_rise} evaluations (SOLVER.EARLY_STOPPING.PATIENCE)",
                extra=ON_CONSOLE,
            )

    def _count(self, score: float) -> None:
        if score > self.best + self.min_delta:
            self.best, self.num_without_rise = score, 0
        elif self.best > -math.inf:  # else the metric was another one so far
            self.num_without_rise += 1


def read_scores(file: Path, metric: str) -> Iterator[float]:
    """Yield the score of each evaluation in metrics.json; NaN for one without it."""
    for line in read_lines(file):
        if EVALUATION_SECONDS in line:
            yield float(line.get(metric, math.nan))
