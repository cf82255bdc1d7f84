"""From a config and a data set to the evaluators that fit both."""

from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluators

from unified_seg.evaluation.base import PerImageEvaluator, Record
from unified_seg.evaluation.instances import InstanceEvaluator
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.functional.class_table import ClassTable


def build_evaluators(cfg: CfgNode, dataset_name: str, output_folder: str | Path) -> DatasetEvaluators:
    """An evaluator for everything that the model makes and the data set has the truth of.

    Args:
        cfg: which parts the model has.
        dataset_name: registered in Detectron2's catalogs.
        output_folder: for the files of the evaluators; one folder per data set.

    Raises:
        ValueError: the data set is empty, or has no truth for anything that the model makes.
    """
    records = DatasetCatalog.get(dataset_name)
    if not records:
        raise ValueError(f"the data set {dataset_name} has no records: there is nothing to evaluate")
    table = ClassTable.from_metadata(MetadataCatalog.get(dataset_name))
    made = _parts(cfg)
    has_masks = "instances" in made and cfg.MODEL.MASK_ON
    evaluators: list[PerImageEvaluator] = []
    if "semantic" in made and _has(records[0], "sem_seg_file_name"):
        evaluators.append(SemanticEvaluator(table, records, output_folder))
    if "instances" in made and ("annotations" in records[0] or _has(records[0], "pan_seg_file_name")):
        evaluators.append(InstanceEvaluator(table, records, output_folder, with_masks=has_masks))
    if has_masks and _has(records[0], "instance_ids_file_name"):
        # Here, since cityscapesScripts is only needed for data sets of its kind.
        from unified_seg.evaluation.cityscapes import CityscapesInstanceEvaluator

        evaluators.append(CityscapesInstanceEvaluator(table, records, output_folder))
    if "panoptic" in made and _has(records[0], "pan_seg_file_name"):
        evaluators.append(PanopticEvaluator(table, records, output_folder))
    if not evaluators:
        raise ValueError(
            f"nothing to evaluate on {dataset_name}: the model makes {', '.join(sorted(made)) or 'nothing'}, the data "
            f"set's records have {', '.join(sorted(records[0]))}"
        )
    return DatasetEvaluators(evaluators)


def _parts(cfg: CfgNode) -> set[str]:
    """What the model makes: a part is left out by an empty name."""
    made = set()
    if cfg.MODEL.SEM_SEG_HEAD.NAME:
        made.add("semantic")
    if cfg.MODEL.PROPOSAL_GENERATOR.NAME and cfg.MODEL.ROI_HEADS.NAME:
        made.add("instances")
    if cfg.MODEL.PANOPTIC_FUSION.NAME and len(made) == 2:
        made.add("panoptic")
    return made


def _has(record: Record, key: str) -> bool:
    return bool(record.get(key))
