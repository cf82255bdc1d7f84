"""The evaluators that fit a config and a data set."""

from collections.abc import Callable, Sequence
from pathlib import Path

from detectron2.config import CfgNode

from unified_seg.config import ConfigError
from unified_seg.config.heads import nested_heads
from unified_seg.data.datasets.alignment import load_for_model
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth
from unified_seg.data.validation.checks import has_instances
from unified_seg.evaluation.base import PanopticGroundTruth, PerImageEvaluator, Record
from unified_seg.evaluation.export import CityscapesSemanticExporter, CocoPanopticExporter
from unified_seg.evaluation.independent import IndependentEvaluators
from unified_seg.evaluation.instances import InstanceEvaluator, InstanceExporter
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.evaluation.recognition import RecognitionEvaluator
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.structures.class_table import ClassTable

Evaluators = list[PerImageEvaluator]
Exporter = Callable[[ClassTable, Sequence[Record], Path], PerImageEvaluator]

#: The task of each kind of prediction, in the order of the results.
TASKS = {"semantic": "sem_seg", "instances": "bbox", "masks": "segm", "panoptic": "panoptic_seg"}


def build_evaluators(cfg: CfgNode, dataset_name: str, output_folder: str | Path) -> IndependentEvaluators:
    """Build the exporters of TEST.EXPORT, then the evaluators of all predictions that have ground truth.

    A detector's predictions are written in COCO's result format, with ground truth or without.

    Args:
        cfg: defines the parts of the model, and the exports.
        dataset_name: registered in Detectron2's catalogs.
        output_folder: for the files of the evaluators; one folder per data set.

    Raises:
        ConfigError: the data set is empty; it has no ground truth for any prediction of the model, and nothing is
            exported; TEST.EXPORT names an unknown export, or one of a prediction that the model does not make.
    """
    records, table = load_for_model(dataset_name, cfg)
    if not records:
        raise ConfigError(f"DATASETS.TEST: the data set {dataset_name!r} has no records")
    predicted = _predicted_kinds(cfg)
    evaluators = _build_exporters(cfg.TEST.EXPORT, predicted, table, records, Path(output_folder))
    evaluators += _build_scoring(cfg, predicted, table, records, Path(output_folder))
    if not evaluators:
        raise ConfigError(
            f"DATASETS.TEST: {dataset_name!r} has no ground truth for the model, which predicts "
            f"{', '.join(sorted(predicted)) or 'nothing'}, and TEST.EXPORT is empty, so there is nothing to do; its "
            f"records have {', '.join(sorted(records[0]))}"
        )
    has_ground_truth = _find_scored_kinds(records[0])
    return IndependentEvaluators(
        evaluators, [task for kind, task in TASKS.items() if kind in predicted and kind not in has_ground_truth]
    )


def list_tasks(cfg: CfgNode) -> list[str]:
    """Return the main tasks of the model's predictions, with ground truth or without."""
    predicted = _predicted_kinds(cfg)
    return [task for kind, task in TASKS.items() if kind in predicted]


def list_scored_tasks(cfg: CfgNode, dataset_name: str) -> list[str]:
    """Return the tasks of `list_tasks` for which a data set has ground truth."""
    records, _ = load_for_model(dataset_name, cfg)
    kinds = _predicted_kinds(cfg) & _find_scored_kinds(records[0]) if records else set()
    return [task for kind, task in TASKS.items() if kind in kinds]


def _find_scored_kinds(record: Record) -> set[str]:
    """Return the kinds of predictions for which a record has ground truth."""
    kinds = {"semantic"} if has_semantic_ground_truth(record) else set()
    if has_instances(record):
        kinds |= {"instances", "masks"}
    return kinds | {"panoptic"} if record.get("pan_seg_file_name") else kinds


def _build_scoring(
    cfg: CfgNode, predicted: set[str], table: ClassTable, records: Sequence[Record], folder: Path
) -> Evaluators:
    has = {key for key in ("pan_seg_file_name", "instance_ids_file_name") if records[0].get(key)}
    ground_truth = PanopticGroundTruth(table)
    evaluators: Evaluators = []
    if "semantic" in predicted and has_semantic_ground_truth(records[0]):
        evaluators.append(SemanticEvaluator(table, records, folder))
        for head in reversed(nested_heads(cfg).values()):
            evaluators += head.build_evaluators(cfg, table, records, folder)
    with_masks = "masks" in predicted
    if "instances" in predicted and has_instances(records[0]):
        limit = cfg.TEST.DETECTIONS_PER_IMAGE
        evaluators.append(
            InstanceEvaluator(table, records, folder, with_masks, ground_truth=ground_truth, max_detections=limit)
        )
    elif "instances" in predicted:
        evaluators.append(InstanceExporter(table, records, folder, with_masks))
    if "masks" in predicted and "instance_ids_file_name" in has:
        # Imported here, since only data sets of this kind need cityscapesScripts.
        from unified_seg.evaluation.cityscapes_instances import CityscapesInstanceEvaluator

        evaluators.append(CityscapesInstanceEvaluator(table, records, folder))
    if "panoptic" in predicted and "pan_seg_file_name" in has:
        evaluators.append(PanopticEvaluator(table, records, folder, ground_truth=ground_truth))
    # If things share a semantic id, a semantic map does not tell their classes.
    if {"semantic", "masks"} <= predicted and "pan_seg_file_name" in has and len(table.classes) == table.num_semantic:
        threshold = cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH
        evaluators.append(RecognitionEvaluator(table, records, folder, threshold, ground_truth=ground_truth))
    return evaluators


def _build_exporters(
    names: Sequence[str], predicted: set[str], table: ClassTable, records: Sequence[Record], folder: Path
) -> Evaluators:
    """Build the exporters that TEST.EXPORT names."""
    exporters: dict[str, tuple[str, Exporter]] = {
        "coco_panoptic": ("panoptic", CocoPanopticExporter),
        "cityscapes_semantic": ("semantic", CityscapesSemanticExporter),
        "cityscapes_instances": ("masks", _cityscapes_instances),
    }
    evaluators: Evaluators = []
    for name in dict.fromkeys(names):
        if name not in exporters:
            raise ConfigError(f"TEST.EXPORT: unknown export {name!r}; known: {', '.join(exporters)}")
        part, exporter = exporters[name]
        if part not in predicted:
            found = ", ".join(sorted(predicted))
            raise ConfigError(f"TEST.EXPORT: {name} needs {part} predictions, the model predicts {found}")
        if name == "cityscapes_instances" and records[0].get("instance_ids_file_name"):
            continue  # the evaluator writes the same files
        evaluators.append(exporter(table, records, folder))
    return evaluators


def _cityscapes_instances(table: ClassTable, records: Sequence[Record], folder: Path) -> PerImageEvaluator:
    from unified_seg.evaluation.cityscapes_instances import CityscapesInstanceExporter

    return CityscapesInstanceExporter(table, records, folder)


def _predicted_kinds(cfg: CfgNode) -> set[str]:
    """Return the kinds of predictions of the model; an empty name leaves a part out."""
    kinds = set()
    if cfg.MODEL.SEM_SEG_HEAD.NAME:
        kinds.add("semantic")
    if cfg.MODEL.PROPOSAL_GENERATOR.NAME and cfg.MODEL.ROI_HEADS.NAME:
        kinds |= {"instances", "masks"} if cfg.MODEL.MASK_ON else {"instances"}
    if cfg.MODEL.PANOPTIC_FUSION.NAME and {"semantic", "instances"} <= kinds:
        kinds.add("panoptic")
    return kinds
