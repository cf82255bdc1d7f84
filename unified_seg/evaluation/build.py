"""From a config and a data set to the evaluators that fit both."""

from collections.abc import Callable, Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluators

from unified_seg.config.heads import nested_heads
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth
from unified_seg.data.validation.checks import has_instances
from unified_seg.evaluation.base import PerImageEvaluator, Record
from unified_seg.evaluation.export import CityscapesSemanticExporter, CocoPanopticExporter
from unified_seg.evaluation.ground_truth import PanopticGroundTruth
from unified_seg.evaluation.instances import InstanceEvaluator
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.evaluation.recognition import RecognitionEvaluator
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.structures.class_table import ClassTable

Evaluators = list[PerImageEvaluator]
Exporter = Callable[[ClassTable, Sequence[Record], Path], PerImageEvaluator]


def build_evaluators(cfg: CfgNode, dataset_name: str, output_folder: str | Path) -> DatasetEvaluators:
    """An evaluator for everything that the model makes and the data set has the ground truth of, and what TEST.EXPORT names.

    Args:
        cfg: which parts the model has, and what to export.
        dataset_name: registered in Detectron2's catalogs.
        output_folder: for the files of the evaluators; one folder per data set.

    Raises:
        ValueError: the data set is empty; it has no ground truth for anything that the model makes, and nothing is exported;
            TEST.EXPORT names what is not known, or what the model does not make.
    """
    records = DatasetCatalog.get(dataset_name)
    if not records:
        raise ValueError(f"the data set {dataset_name} has no records: there is nothing to evaluate")
    table = ClassTable.from_metadata(MetadataCatalog.get(dataset_name))
    made = _parts(cfg)
    evaluators = _scoring(cfg, made, table, records, Path(output_folder))
    evaluators += _exporting(cfg.TEST.EXPORT, made, table, records, Path(output_folder))
    if not evaluators:
        raise ValueError(
            f"nothing to evaluate on {dataset_name}: the model makes {', '.join(sorted(made)) or 'nothing'}, the data "
            f"set's records have {', '.join(sorted(records[0]))}"
        )
    return DatasetEvaluators(evaluators)


def _scoring(cfg: CfgNode, made: set[str], table: ClassTable, records: Sequence[Record], folder: Path) -> Evaluators:
    has = {key for key in ("pan_seg_file_name", "instance_ids_file_name") if records[0].get(key)}
    ground_truth = PanopticGroundTruth(table)
    evaluators: Evaluators = []
    if "semantic" in made and has_semantic_ground_truth(records[0]):
        evaluators.append(SemanticEvaluator(table, records, folder))
        for head in reversed(nested_heads(cfg).values()):
            evaluators += head.build_evaluators(cfg, table, records, folder)
    if "instances" in made and has_instances(records[0]):
        evaluators.append(
            InstanceEvaluator(table, records, folder, with_masks="masks" in made, ground_truth=ground_truth)
        )
    if "masks" in made and "instance_ids_file_name" in has:
        # Here, since cityscapesScripts is only needed for data sets of its kind.
        from unified_seg.evaluation.cityscapes_instances import CityscapesInstanceEvaluator

        evaluators.append(CityscapesInstanceEvaluator(table, records, folder))
    if "panoptic" in made and "pan_seg_file_name" in has:
        evaluators.append(PanopticEvaluator(table, records, folder, ground_truth=ground_truth))
    # Where things share a semantic id, a semantic map does not say their classes.
    if {"semantic", "masks"} <= made and "pan_seg_file_name" in has and len(table.classes) == table.num_semantic:
        threshold = cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH
        evaluators.append(RecognitionEvaluator(table, records, folder, threshold, ground_truth=ground_truth))
    return evaluators


def _exporting(
    names: Sequence[str], made: set[str], table: ClassTable, records: Sequence[Record], folder: Path
) -> Evaluators:
    """What TEST.EXPORT names."""
    exporters: dict[str, tuple[str, Exporter]] = {
        "coco_panoptic": ("panoptic", CocoPanopticExporter),
        "cityscapes_semantic": ("semantic", CityscapesSemanticExporter),
        "cityscapes_instances": ("masks", _cityscapes_instances),
    }
    evaluators: Evaluators = []
    for name in dict.fromkeys(names):
        if name not in exporters:
            raise ValueError(f"TEST.EXPORT: there is no export {name!r}; known: {', '.join(exporters)}")
        part, exporter = exporters[name]
        if part not in made:
            raise ValueError(f"TEST.EXPORT: {name} needs a model with {part}, this one makes {', '.join(sorted(made))}")
        if name == "cityscapes_instances" and records[0].get("instance_ids_file_name"):
            continue  # their evaluator writes the same files
        evaluators.append(exporter(table, records, folder))
    return evaluators


def _cityscapes_instances(table: ClassTable, records: Sequence[Record], folder: Path) -> PerImageEvaluator:
    from unified_seg.evaluation.cityscapes_instances import CityscapesInstanceExporter

    return CityscapesInstanceExporter(table, records, folder)


def _parts(cfg: CfgNode) -> set[str]:
    """What the model makes: a part is left out by an empty name."""
    made = set()
    if cfg.MODEL.SEM_SEG_HEAD.NAME:
        made.add("semantic")
    if cfg.MODEL.PROPOSAL_GENERATOR.NAME and cfg.MODEL.ROI_HEADS.NAME:
        made |= {"instances", "masks"} if cfg.MODEL.MASK_ON else {"instances"}
    if cfg.MODEL.PANOPTIC_FUSION.NAME and {"semantic", "instances"} <= made:
        made.add("panoptic")
    return made
