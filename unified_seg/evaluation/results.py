"""Results on disk and on screen."""

import importlib.metadata
import json
import logging
import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import detectron2
import numpy as np
import torch

from unified_seg.data.io.text_files import read_json, write_json
from unified_seg.data.problems import DataError
from unified_seg.evaluation.tables import (
    cell,
    class_names,
    error_table_text,
    level_table_text,
    recognition_table_text,
    table_text,
)

logger = logging.getLogger(__name__)

Results = Mapping[str, Mapping[str, Mapping[str, float]]]  # data set -> task -> metric -> percent

# Column of the tables, task and metric it comes from; with "-<class>" after the metric, its value for a class.
HEADLINES = (
    ("mIoU", "sem_seg", "mIoU"),
    ("mIoU unfused", "sem_seg_unfused", "mIoU"),
    ("mIoU uncorrected", "sem_seg_uncorrected", "mIoU"),
    ("mIoU ungrouped", "sem_seg_ungrouped", "mIoU"),
    ("mIoU categories", "sem_seg", "mIoU_category"),
    ("pACC", "sem_seg", "pACC"),
    ("box AP", "bbox", "AP"),
    ("mask AP", "segm", "AP"),
    ("mask AP unfused", "segm_unfused", "AP"),
    ("mask AP50", "segm", "AP50"),
    ("Cityscapes AP", "cityscapes_instances", "AP"),
    ("PQ", "panoptic_seg", "PQ"),
    ("SQ", "panoptic_seg", "SQ"),
    ("RQ", "panoptic_seg", "RQ"),
    ("PQ things", "panoptic_seg", "PQ_th"),
    ("PQ stuff", "panoptic_seg", "PQ_st"),
)
CLASS_COLUMNS = (
    ("IoU", "sem_seg", "IoU"),
    ("IoU unfused", "sem_seg_unfused", "IoU"),
    ("IoU uncorrected", "sem_seg_uncorrected", "IoU"),
    ("IoU ungrouped", "sem_seg_ungrouped", "IoU"),
    ("box AP", "bbox", "AP"),
    ("mask AP", "segm", "AP"),
    ("mask AP unfused", "segm_unfused", "AP"),
    ("Cityscapes AP", "cityscapes_instances", "AP"),
    ("PQ", "panoptic_seg", "PQ"),
    ("SQ", "panoptic_seg", "SQ"),
    ("RQ", "panoptic_seg", "RQ"),
)


def save_results(path: str | Path, results: Results, *, eval_s: float, weights: str) -> dict[str, Any]:
    """Write results.json; a crash or a full disk meanwhile leaves an older file as it was.

    Args:
        path: the file; its folder is made if need be.
        results: data set -> task -> metric -> percent. NaN (a class without a value) becomes null.
        eval_s: seconds that the evaluation took.
        weights: what was evaluated, MODEL.WEIGHTS. The train_s of an earlier file with the same stays.

    Returns:
        What was written: results, eval_s, weights, versions, machine.
    """
    path = Path(path)
    content: dict[str, Any] = {
        "results": _without_nan(results),
        "eval_s": eval_s,
        "weights": str(weights),
        "versions": versions(),
        "machine": machine(),
    }
    try:
        earlier = read_json(path)
    except DataError:  # there is none, or a damaged one, which is replaced
        earlier = {}
    if "train_s" in earlier and earlier.get("weights") == content["weights"]:
        content["train_s"] = earlier["train_s"]
    write_json(path, content)
    return content


def add_to_results(path: str | Path, **values: Any) -> None:
    """Add top-level entries, such as train_s, to a results.json that is there."""
    path = Path(path)
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **values})


def format_results(results: Results) -> str:
    """One table of headline scores with a row per data set; then of each a row per class, recognition, levels, errors.

    A data set without scores (its predictions were only exported) has its row, and no table of its own.
    """
    columns = [c for c in HEADLINES if any(c[2] in tasks.get(c[1], {}) for tasks in results.values())]
    rows = [
        [name, *(cell(tasks.get(task, {}).get(metric)) for _, task, metric in columns)]
        for name, tasks in results.items()
    ]
    parts = [table_text(["data set", *(title for title, _, _ in columns)], rows)]
    for name, tasks in results.items():
        if any(tasks.values()):
            parts.append(f"{name}, by class\n{_class_table(tasks)}")
        if "recognition" in tasks:
            title = f"{name}, class right: % of the pixels of found objects"
            parts.append(f"{title}\n{recognition_table_text(tasks['recognition'])}")
        if "levels" in tasks:
            title = f"{name}, levels by stride: mIoU of their answers on the pixels assigned to each"
            parts.append(f"{title}\n{level_table_text(tasks['levels'])}")
        if "errors" in tasks:
            parts.append(f"{name}, errors found: {error_table_text(tasks['errors'])}")
    return "\n\n".join(parts)


def print_results(results: Results) -> None:
    """Print `format_results`; a log file gets it too."""
    text = format_results(results)
    print(text)
    logger.debug("scores\n%s", text)


def versions() -> dict[str, str]:
    """What the numbers depend on, by name."""
    try:
        own = importlib.metadata.version("unified_seg")
    except importlib.metadata.PackageNotFoundError:
        own = "not installed"
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "detectron2": detectron2.__version__,
        "numpy": np.__version__,
        "unified_seg": own,
    }


def machine() -> str:
    """Processor, usable cores, and the GPU if there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    line = f"{_processor()}, {cores} cores"
    return f"{line}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else line


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _class_table(tasks: Mapping[str, Mapping[str, float]]) -> str:
    columns = [c for c in CLASS_COLUMNS if class_names(tasks.get(c[1], {}), (c[2],))]
    names = dict.fromkeys(name for _, task, metric in columns for name in class_names(tasks[task], (metric,)))
    rows = [[name, *(cell(tasks[task].get(f"{metric}-{name}")) for _, task, metric in columns)] for name in names]
    return table_text(["class", *(title for title, _, _ in columns)], rows)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN; numpy's numbers become Python's."""
    if isinstance(value, Mapping):
        return {str(key): _without_nan(inner) for key, inner in value.items()}
    number = float(value)
    return None if math.isnan(number) else number
