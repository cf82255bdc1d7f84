"""The evaluators of one data set as one, of which an evaluator that fails doesn't take the others with it."""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators
from detectron2.utils import comm

from unified_seg.errors import UserError

logger = logging.getLogger(__name__)


class EvaluationError(UserError):
    """An evaluator failed; those of the same data set did not."""


class IndependentEvaluators(DatasetEvaluators):
    """Evaluators of one data set. One that fails, on any process, has no scores; the others have theirs.

    Args:
        evaluators: in this order; put exporters before what computes scores.
        without_ground_truth: the tasks that the model predicts and the data set can't score.

    Attributes:
        failures: what failed in the last evaluation, complete on the main process.
    """

    def __init__(self, evaluators: Sequence[DatasetEvaluator], without_ground_truth: Sequence[str] = ()):
        super().__init__(list(evaluators))
        self.without_ground_truth = tuple(without_ground_truth)
        self.failures: list[str] = []
        self._failed: dict[int, str] = {}

    def reset(self) -> None:
        super().reset()
        self.failures, self._failed = [], {}

    def process(self, inputs: Any, outputs: Any) -> None:
        for index, evaluator in enumerate(self._evaluators):
            if index not in self._failed:
                with self._keep_failure(index):
                    evaluator.process(inputs, outputs)

    def evaluate(self) -> OrderedDict[str, Any]:
        """Return task -> scores on the main process; empty on the others."""
        # What failed on one process must not wait for it on another.
        for failed in comm.all_gather(self._failed):
            self._failed |= {index: message for index, message in failed.items() if index not in self._failed}
        results: OrderedDict[str, Any] = OrderedDict()
        for index, evaluator in enumerate(self._evaluators):
            if index in self._failed:
                continue
            with self._keep_failure(index):
                scores = evaluator.evaluate() or {}
                if repeated := results.keys() & scores.keys():
                    raise ValueError(f"two evaluators have scores of {', '.join(sorted(repeated))}")
                results.update(scores)
        self.failures = [self._failed[index] for index in sorted(self._failed)]
        return results

    @property
    def notes(self) -> list[str]:
        """What a reader of the scores must know, of the last evaluation."""
        notes = [note for evaluator in self._evaluators for note in getattr(evaluator, "notes", ())]
        if self.without_ground_truth:
            notes.insert(0, f"no ground truth, so no scores: {', '.join(self.without_ground_truth)}")
        return notes + [f"failed, so without its results: {failure}" for failure in self.failures]

    @contextmanager
    def _keep_failure(self, index: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever an evaluator fails with, the others go on
            self._failed[index] = f"{type(self._evaluators[index]).__name__}: {error}"
            # The traceback of an error that the user can fix would hide its message.
            details = None if isinstance(error, UserError) else error
            logger.error("%s; the other scores and exports go on", self._failed[index], exc_info=details)
