"""Draw where the semantic maps of two models differ most."""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from detectron2.config import CfgNode
from tqdm import tqdm

from unified_seg import load_config
from unified_seg.config import COMPACT, ConfigError
from unified_seg.data.datasets.alignment import have_same_ids, load_with_classes, model_classes
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.data.io.text_files import write_json
from unified_seg.data.resolve import resolve_config
from unified_seg.data.validation.checks import has_instances
from unified_seg.evaluation import list_tasks
from unified_seg.evaluation.instances.comparison import InstanceComparison, describe_changes, format_changes
from unified_seg.evaluation.model_outputs import get_label_map
from unified_seg.inference import Predictor
from unified_seg.inference.images import make_writable
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.change_sheets import write_changes
from unified_seg.visualization.changes import LabelMaps
from unified_seg_files import escape_unprintable

SIDES = ("before", "after")
Record = dict[str, Any]


class Model(NamedTuple):
    """One of the two models, with its resolved config and its classes."""

    predictor: Predictor
    cfg: CfgNode
    classes: ClassTable


def load_side(args: argparse.Namespace, side: str) -> Model:
    """Load one of the two models.

    Raises:
        CheckpointError: the weights can't be used.
        ConfigError: the config can't be used, or its classes differ from those of the data set; the message names the
            side.
    """
    config, weights = getattr(args, side)
    try:
        overrides = [*args.opts, *getattr(args, f"{side}_opts"), "MODEL.WEIGHTS", weights]
        cfg = load_config(config, overrides, defaults=COMPACT)
        cfg.DATASETS.TEST = (args.dataset,)
        cfg = resolve_config(cfg)
        return Model(Predictor(cfg), cfg, model_classes(cfg))
    except ConfigError as error:
        raise ConfigError(f"--{side} {config}: {error}") from None


class Pair:
    """Two models on the images of a data set.

    Args:
        predictors: before and after.
        table: the classes of the data set.
        instances: collects the instances of each image; None if they are not compared.
    """

    def __init__(self, predictors: Sequence[Predictor], table: ClassTable, instances: InstanceComparison | None):
        self.predictors = predictors
        self.table = table
        self.instances = instances

    def predict(self, records: Sequence[Record]) -> Iterator[tuple[Record, list[dict[str, Any]]]]:
        """Yield each record with the outputs of both models for its image; several images are predicted at once."""
        for steps in zip(*(_predict_all(predictor, records) for predictor in self.predictors), strict=True):
            record, outputs = steps[0][0], [future.result() for _, future in steps]
            if self.instances is not None:
                self.instances.add(record, outputs)
            yield record, outputs

    def label_maps(self, records: Sequence[Record]) -> Iterator[LabelMaps]:
        """Yield the ground truth of each record and the semantic maps of both models.

        Raises:
            DataError: see `read_semantic_ground_truth`.
        """
        for record, outputs in self.predict(records):
            before, after = map(semantic_labels, outputs)
            yield LabelMaps(read_semantic_ground_truth(record, self.table, size=before.shape), before, after)


def _predict_all(predictor: Predictor, records: Sequence[Record]) -> Iterator[tuple[Record, Future[dict[str, Any]]]]:
    return predictor.predict_all(
        records, lambda record: predictor.read(record["file_name"]), lambda record, image, outputs: outputs
    )


def semantic_labels(outputs: dict[str, Any]) -> np.ndarray:
    """Return the (H, W) semantic ids in a model's outputs, in either form of MODEL.UNIFIED.OUTPUT."""
    labels = get_label_map(outputs)
    assert labels is not None
    return labels.cpu().numpy()


def find_tasks(args: argparse.Namespace, models: Sequence[Model], record: Record) -> set[str]:
    """Return the tasks that both models predict and the data set has ground truth for: sem_seg, bbox, segm.

    Raises:
        ConfigError: there is none.
    """
    before, after = (set(list_tasks(model.cfg)) for model in models)
    labeled = {"sem_seg"} if has_semantic_ground_truth(record) else set()
    labeled |= {"bbox", "segm"} if has_instances(record) else set()
    if not (found := before & after & labeled):
        one, other, known = (", ".join(sorted(tasks)) or "nothing" for tasks in (before, after, labeled))
        raise ConfigError(
            f"--before, --after: nothing to compare: the models predict {one} and {other}, and {args.dataset!r} has "
            f"ground truth of {known}"
        )
    return found


def run(args: argparse.Namespace) -> None:
    before, after = models = [load_side(args, side) for side in SIDES]
    if not have_same_ids(before.classes, after.classes):
        raise ConfigError("--before, --after: the models have different classes, or the same in another order")
    records, table = load_with_classes(args.dataset, before.classes)
    if not records:
        raise ConfigError(f"--dataset: the data set {args.dataset!r} has no records")
    tasks = find_tasks(args, models, records[0])
    make_writable(args.output)
    limits = [model.cfg.TEST.DETECTIONS_PER_IMAGE for model in models]
    instances = InstanceComparison(table, "segm" in tasks, limits) if "bbox" in tasks else None
    pair = Pair([model.predictor for model in models], table, instances)
    if "sem_seg" in tasks:
        summary = write_changes(args.output, pair.label_maps, records, table, names=tuple(args.names), top=args.top)
        print(f"{summary}: {args.output}")
    else:
        for _ in tqdm(pair.predict(records), "predicting", len(records), unit="img", disable=None):
            pass
    if instances is not None:
        changes = instances.compute()
        write_json(args.output / "average_precision.json", describe_changes(changes))
        print(escape_unprintable(format_changes(changes, args.names), keep="\n"))
