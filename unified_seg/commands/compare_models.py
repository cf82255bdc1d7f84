"""Compare trained models: a page of their scores and errors, and where their semantic maps differ most."""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
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
from unified_seg.evaluation import IndependentEvaluators, build_evaluators, list_tasks
from unified_seg.evaluation.instances.comparison import InstanceComparison, describe_changes, format_changes
from unified_seg.evaluation.model_outputs import get_label_map
from unified_seg.html_reports.evaluation.files import read_evaluation
from unified_seg.html_reports.evaluation.report import EvaluatedDataset, write_report
from unified_seg.inference import Predictor
from unified_seg.inference.images import make_writable
from unified_seg.meta_arch.kept_logits import keep_logits
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.change_sheets import write_changes
from unified_seg.visualization.changes import LabelMaps
from unified_seg_files import escape_unprintable

Record = dict[str, Any]


class Model(NamedTuple):
    """One of the models, with its resolved config and its classes."""

    predictor: Predictor
    cfg: CfgNode
    classes: ClassTable


def load_model(dataset: str, option: str, files: tuple[str, str], overrides: Sequence[str]) -> Model:
    """Load one of the models.

    Args:
        dataset: to compare on.
        option: of the command line, for errors.
        files: config and weights.
        overrides: of the config.

    Raises:
        CheckpointError: the weights can't be used.
        ConfigError: the config can't be used, or its classes differ from those of the data set; the message names the
            option.
    """
    config, weights = files
    try:
        cfg = load_config(config, [*overrides, "MODEL.WEIGHTS", weights], defaults=COMPACT)
        cfg.DATASETS.TEST = (dataset,)
        cfg = resolve_config(cfg, for_inference=True)
        return Model(Predictor(cfg), cfg, model_classes(cfg))
    except ConfigError as error:
        raise ConfigError(f"{option} {config}: {error}") from None


def load_models(args: argparse.Namespace) -> list[Model]:
    """Load the baseline and the models to compare with it; raises what `load_model` raises."""
    before = load_model(args.dataset, "--before", args.before, [*args.opts, *args.before_opts])
    others = zip(args.after, args.after_opts, strict=True)
    return [before, *(load_model(args.dataset, "--after", model, [*args.opts, *opts]) for model, opts in others)]


class Comparison:
    """Models on the images of a data set.

    Args:
        predictors: of the models, the baseline first.
        table: the classes of the data set.
        evaluators: of each model.
        instances: collects the instances of each image; None if they are not compared.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor],
        table: ClassTable,
        evaluators: Sequence[IndependentEvaluators],
        instances: InstanceComparison | None,
    ):
        self.predictors = predictors
        self.table = table
        self.evaluators = evaluators
        self.instances = instances
        self._evaluated: set[Any] = set()
        for evaluator in evaluators:
            evaluator.reset()

    def predict(self, records: Sequence[Record]) -> Iterator[tuple[Record, list[dict[str, Any]]]]:
        """Yield each record with the outputs of all models for its image; several images are predicted at once.

        An image is evaluated the first time; later ones are for its pictures.
        """
        for steps in zip(*(_predict_all(predictor, records) for predictor in self.predictors), strict=True):
            record, outputs = steps[0][0], [future.result() for _, future in steps]
            if record["image_id"] not in self._evaluated:
                self._evaluated.add(record["image_id"])
                for evaluator, output in zip(self.evaluators, outputs):
                    evaluator.process([record], [output])
                if self.instances is not None:
                    self.instances.add(record, outputs)
            yield record, outputs

    def predict_outputs(self, records: Sequence[Record]) -> Iterator[list[dict[str, Any]]]:
        """Yield the outputs of all models for each record."""
        return (outputs for _, outputs in self.predict(records))

    def label_maps(self, records: Sequence[Record]) -> Iterator[LabelMaps]:
        """Yield the ground truth of each record and the semantic maps of the first and the last model.

        Raises:
            DataError: see `read_semantic_ground_truth`.
        """
        for record, outputs in self.predict(records):
            before, after = semantic_labels(outputs[0]), semantic_labels(outputs[-1])
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


def find_tasks(dataset: str, models: Sequence[Model], record: Record) -> set[str]:
    """Return the tasks that all models predict and the data set has ground truth for: sem_seg, bbox, segm.

    Raises:
        ConfigError: there is none.
    """
    predicted = [set(list_tasks(model.cfg)) for model in models]
    labeled = {"sem_seg"} if has_semantic_ground_truth(record) else set()
    labeled |= {"bbox", "segm"} if has_instances(record) else set()
    if not (found := labeled.intersection(*predicted)):
        *lists, known = (", ".join(sorted(tasks)) or "nothing" for tasks in (*predicted, labeled))
        raise ConfigError(
            f"--before, --after: nothing to compare: the models predict {' and '.join(lists)}, and {dataset!r} has "
            f"ground truth of {known}"
        )
    return found


def run(args: argparse.Namespace) -> None:
    models = load_models(args)
    if not all(have_same_ids(models[0].classes, model.classes) for model in models[1:]):
        raise ConfigError("--before, --after: the models have different classes, or the same in another order")
    records, table = load_with_classes(args.dataset, models[0].classes)
    if not records:
        raise ConfigError(f"--dataset: the data set {args.dataset!r} has no records")
    tasks = find_tasks(args.dataset, models, records[0])
    make_writable(args.output)
    limits = [model.cfg.TEST.DETECTIONS_PER_IMAGE for model in models]
    instances = InstanceComparison(table, "segm" in tasks, limits) if "bbox" in tasks else None
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        for model in models:
            stack.enter_context(keep_logits(model.predictor.model))  # the page has the calibration
        folders = [Path(temporary) / str(index) for index in range(len(models))]
        evaluators = [build_evaluators(m.cfg, args.dataset, folder) for m, folder in zip(models, folders)]
        comparison = Comparison([model.predictor for model in models], table, evaluators, instances)
        if "sem_seg" in tasks:
            names = (args.names[0], args.names[-1])
            summary = write_changes(args.output, comparison.label_maps, records, table, names=names, top=args.top)
            print(f"{summary}: {args.output}")
        else:
            for _ in tqdm(comparison.predict(records), "predicting", len(records), unit="img", disable=None):
                pass
        changes = instances.compute() if instances is not None else []
        if changes:
            write_json(args.output / "average_precision.json", describe_changes(changes[-1]))
        for name, of_model in zip(args.names[1:], changes):
            print(escape_unprintable(format_changes(of_model, (args.names[0], name)), keep="\n"))
        evaluated = [
            read_evaluation(name, evaluator.evaluate(), folder)
            for name, evaluator, folder in zip(args.names, evaluators, folders)
        ]
        dataset = EvaluatedDataset(args.dataset, records, table, evaluated, comparison.predict_outputs, changes)
        weights = ", ".join(model.cfg.MODEL.WEIGHTS for model in models)
        write_report(args.output / "report.html", f"Comparison of {' and '.join(args.names)}", weights, [dataset])
    print(f"The report is {args.output / 'report.html'}")
