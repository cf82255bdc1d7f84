"""The report after an evaluation of a config: OUTPUT_DIR/inference/report.html."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.evaluation.evaluator import inference_context
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from unified_seg.data.datasets.alignment import load_for_model
from unified_seg.data.io.text_files import read_json_object
from unified_seg.data.pipeline.mapper import UnifiedMapper
from unified_seg.html_reports.evaluation.files import Tasks, read_evaluation
from unified_seg.html_reports.evaluation.report import EvaluatedDataset, write_report
from unified_seg.words import ON_CONSOLE

REPORT_FILE = "report.html"

logger = logging.getLogger(__name__)


def report_evaluation(cfg: CfgNode, model: nn.Module, results: Mapping[str, Any]) -> None:
    """Write OUTPUT_DIR/inference/report.html, unless TEST.REPORT is off; an error is logged, and nothing ends.

    Args:
        cfg: of the evaluation.
        model: with the evaluated weights.
        results: task -> metric -> percent, with several test sets by data set first. Data sets without scores are left
            out.
    """
    by_dataset = results if len(cfg.DATASETS.TEST) > 1 else dict.fromkeys(cfg.DATASETS.TEST, results)
    scored = {name: tasks for name, tasks in by_dataset.items() if any(tasks.values())}
    folder, start = Path(cfg.OUTPUT_DIR) / "inference", time.perf_counter()
    with suppress(OSError):
        (folder / REPORT_FILE).unlink()  # of an earlier evaluation
    if not cfg.TEST.REPORT or not scored:
        return
    try:
        written = read_json_object(folder / "results.json")
        datasets = [_read_dataset(cfg, model, name, tasks, folder / name) for name, tasks in scored.items()]
        write_report(folder / REPORT_FILE, "Evaluation", f"{written['weights']} on {written['machine']}", datasets)
    except Exception as error:  # whatever it fails with, the scores are written
        logger.warning(f"no {REPORT_FILE}: {type(error).__name__}: {error}")
        logger.debug("of the report", exc_info=error)
    else:
        seconds = time.perf_counter() - start
        logger.info(
            f"The report of the evaluation is {folder / REPORT_FILE}, written in {seconds:.1f} s", extra=ON_CONSOLE
        )


def _read_dataset(cfg: CfgNode, model: nn.Module, name: str, tasks: Tasks, folder: Path) -> EvaluatedDataset:
    records, table = load_for_model(name, cfg)
    plain = model.module if isinstance(model, DistributedDataParallel) else model
    mapper = UnifiedMapper(cfg, False)

    def predict(chosen: Sequence[dict[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
        with inference_context(plain), torch.no_grad():
            for record in chosen:
                yield plain([mapper(record)])

    evaluated = read_evaluation("model", tasks, folder)
    return EvaluatedDataset(name, records, table, [evaluated], predict)
