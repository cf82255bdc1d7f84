"""TEST.BEST_CHECKPOINT_METRIC, the score of an evaluation that counts: its choice and its check before a training."""

import difflib

from detectron2.config import CfgNode

from unified_seg.config import ConfigError
from unified_seg.config.heads import earlier_predictions, score_tables
from unified_seg.data.datasets.alignment import load_for_model
from unified_seg.evaluation.build import list_scored_tasks, list_tasks
from unified_seg.evaluation.panoptic import QUALITIES
from unified_seg.structures.class_table import ClassTable

# Of "auto": the metric of the first task that the model and the test set have.
AUTO_METRICS = {"panoptic_seg": "PQ", "sem_seg": "mIoU", "segm": "AP", "bbox": "AP"}
# Tasks with other scores, which are not checked here.
OTHER_TASKS = ("cityscapes_instances", "errors_bbox", "errors_segm", "recognition")


def choose_metric(cfg: CfgNode) -> str:
    """Return TEST.BEST_CHECKPOINT_METRIC, and in place of "auto" a score of the first test set, "" if it has none."""
    metric = cfg.TEST.BEST_CHECKPOINT_METRIC
    if metric != "auto" or not cfg.DATASETS.TEST:
        return "" if metric == "auto" else metric
    name = cfg.DATASETS.TEST[0]
    scored = list_scored_tasks(cfg, name)
    found = [f"{task}/{score}" for task, score in AUTO_METRICS.items() if task in scored]
    return "" if not found else found[0] if len(cfg.DATASETS.TEST) == 1 else f"{name}/{found[0]}"


def check_metric(cfg: CfgNode) -> None:
    """Check that TEST.BEST_CHECKPOINT_METRIC, if it is set, is a score of the evaluation.

    Args:
        cfg: a resolved config.

    Raises:
        ConfigError: there is no such data set, task or metric; the message lists those that there are.
    """
    metric = cfg.TEST.BEST_CHECKPOINT_METRIC
    if metric in ("", "auto") or not cfg.DATASETS.TEST:
        return
    names = list(cfg.DATASETS.TEST)
    path = metric.split("/", 2 if len(names) > 1 else 1)
    dataset = path.pop(0) if len(names) > 1 else names[0]
    prefix = "<data set>/" if len(names) > 1 else ""
    if dataset not in names or len(path) < 2:
        raise ConfigError(
            f"TEST.BEST_CHECKPOINT_METRIC: {metric!r} is no path {prefix}<task>/<metric>"
            + (f"; data sets: {', '.join(names)}" if prefix else f"; tasks: {', '.join(list_tasks(cfg))}")
        )
    table = load_for_model(dataset, cfg)[1]
    task, score = path
    known = {task: list_metrics(task, table) for task in list_tasks(cfg)}
    others = [*OTHER_TASKS, *score_tables(), *(f"sem_seg_{name}" for name in earlier_predictions())]
    others += [f"{task}_unfused" for task in ("sem_seg", "segm")]
    if task not in known and task not in others:
        raise ConfigError(
            f"TEST.BEST_CHECKPOINT_METRIC: the model has no task {task!r}; it has {', '.join([*known, *others])}"
        )
    if task in known and score not in known[task]:
        main = [name for name in known[task] if "-" not in name]
        close = difflib.get_close_matches(score, known[task], n=3)
        raise ConfigError(
            f"TEST.BEST_CHECKPOINT_METRIC: {task} has no metric {score!r}; it has {', '.join(main)}, and of each class "
            f"{', '.join(sorted({name.partition('-')[0] for name in known[task] if '-' in name}))}-<class>"
            + (f"; did you mean {' or '.join(close)}?" if close else "")
        )


def list_metrics(task: str, table: ClassTable) -> list[str]:
    """Return the names of the scores of a main task, see `list_tasks`."""
    if task == "sem_seg":
        names = ["mIoU", "fwIoU", "mACC", "pACC"]
        names += [f"{name}-{cls}" for name in ("IoU", "ACC") for cls in table.semantic_names]
        if len(table.categories) < table.num_semantic == len(table.classes):
            names += ["mIoU_category", *(f"cIoU-{category}" for category in table.categories)]
        return names
    if task == "panoptic_seg":
        suffixes = ["", "_th", "_st", *(f"-{cls.name}" for cls in table.classes)]
        return [f"{quality}{suffix}" for suffix in suffixes for quality in QUALITIES]
    return ["AP", "AP50", "AP75", "APs", "APm", "APl", *(f"AP-{cls.name}" for cls in table.things)]
