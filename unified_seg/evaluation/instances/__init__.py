"""Average precision of instances, what their errors cost, and their export in COCO's result format."""

from unified_seg.evaluation.instances.evaluator import InstanceEvaluator
from unified_seg.evaluation.instances.exporter import InstanceExporter

__all__ = ["InstanceEvaluator", "InstanceExporter"]
