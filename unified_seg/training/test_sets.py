"""Evaluation of a model on every test set of a config."""

import logging
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.logger import log_first_n
from torch import nn
from torch.utils.data import DataLoader

from unified_seg.evaluation import IndependentEvaluators, describe_undefined, print_results, save_results
from unified_seg.inference.dataset_evaluation import evaluate_on_dataset
from unified_seg.training.console.progress import is_in_training

logger = logging.getLogger(__name__)


def evaluate_on_test_sets(
    cfg: CfgNode, model: nn.Module, test_sets: Iterable[tuple[str, DataLoader, DatasetEvaluator]]
) -> tuple[OrderedDict[str, Any], list[str]]:
    """Evaluate on one test set after the other, print the scores and write the file of the results.

    Args:
        cfg: of the run.
        model: to be evaluated.
        test_sets: name, loader and evaluator of each.

    Returns:
        Results by task and metric in percent, with several test sets by data set first, without scores on other
        processes than the first; and what failed of the evaluators.
    """
    results: OrderedDict[str, Any] = OrderedDict()
    notes: dict[str, list[str]] = {}
    failures: list[str] = []
    start = time.perf_counter()
    for name, loader, evaluator in test_sets:
        results[name] = evaluate_on_dataset(
            model,
            loader,
            evaluator,
            at_once=cfg.TEST.IMAGES_AT_ONCE,
            title=f"evaluating {name}",
            show_progress=comm.is_main_process(),
        )
        if isinstance(evaluator, IndependentEvaluators):
            notes[name] = evaluator.notes
            failures += [f"{name}: {failure}" for failure in evaluator.failures]
    if comm.is_main_process() and results:
        for name, tasks in results.items():
            if undefined := describe_undefined(tasks):
                notes.setdefault(name, []).append(undefined)
                log_first_n(logging.WARNING, f"{name}: {undefined}", key="message")
        file = get_results_file(cfg)
        print_results(results, notes, brief=is_in_training(cfg))
        save_results(file, results, eval_s=time.perf_counter() - start, weights=cfg.MODEL.WEIGHTS)
        logger.info(f"Scores are in {file.parent}, by data set with their confusion matrices")
    return next(iter(results.values())) if len(results) == 1 else results, failures


def get_results_file(cfg: CfgNode) -> Path:
    """Return the file of a run's evaluation results."""
    return Path(cfg.OUTPUT_DIR) / "inference" / "results.json"
