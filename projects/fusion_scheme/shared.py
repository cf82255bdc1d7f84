"""What the scripts of this folder share: common options, the config, and the prediction before the fusion."""

import argparse
from collections.abc import Mapping
from typing import Any

import torch
from detectron2.structures import Instances

from unified_seg import load_config
from unified_seg.config import COMPACT, CfgNode, ConfigError
from unified_seg.data.datasets.alignment import load_with_classes
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config
from unified_seg.fusion import FusionResult, PanopticFusion, Probabilities
from unified_seg.inference import Predictor
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.panoptic_map import PanopticMap
from unified_seg_cli import ToolParser

FUSION_KEY = "MODEL.PANOPTIC_FUSION.NAME"
FUSION = (FUSION_KEY, "SemanticGuidedFusion")
#: By name in the registry, what figures call them.
FUSIONS = {
    "ScoreOrderFusion": "score-order merge",
    "SemanticGuidedFusion": "semantic-guided fusion",
    "EvidenceFusion": "fusion by evidence",
}


def create_parser(description: str | None, **dataset: Any) -> ToolParser:
    """Return a parser with --config-file, --dataset, --output and --opts; `dataset` may have a default and a help."""
    parser = ToolParser(description)
    parser.add_config_file()
    parser.add_dataset(**dataset)
    parser.add_output()
    parser.add_overrides()
    return parser


def read_config(args: argparse.Namespace, *last: str) -> CfgNode:
    """Return the config for the named data set, with compact output and SemanticGuidedFusion whatever the file sets.

    Args:
        args: the options of `create_parser`.
        last: KEY, VALUE, ... applied after --opts.

    Raises:
        ConfigError: as `load_config`; or the data set is unknown or has other classes than the model.
    """
    cfg = load_config(args.config_file, [*COMPACT, *FUSION, *args.opts, *last])
    cfg.DATASETS.TEST = (args.dataset,)
    return resolve_config(cfg)


def get_unfused(outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a model's prediction before its fusion; raise ConfigError if the fusion refines nothing."""
    if "unfused" not in outputs:
        raise ConfigError(
            f"--opts: expected {' '.join(FUSION)} and {' '.join(COMPACT)}: with other values the outputs lack the "
            "prediction before the fusion"
        )
    return outputs["unfused"]


def load_panoptic_records(name: str, predictor: Predictor) -> tuple[list[dict[str, Any]], ClassTable]:
    """Return the records of a data set with panoptic ground truth, and its classes as the model has them.

    Raises:
        DataError: a record without panoptic ground truth.
    """
    records, table = load_with_classes(name, dataset_classes(predictor.metadata))
    if missing := [record for record in records if "pan_seg_file_name" not in record]:
        raise DataError(f"{missing[0]['file_name']}: its record needs panoptic ground truth (pan_seg_file_name)")
    return records, table


class InputsOfFusion(PanopticFusion):
    """Keeps what a model's fusion is given, as `labels`, `instances` and `probabilities`, and fuses nothing."""

    needs_probabilities = True

    def __call__(
        self, labels: torch.Tensor, instances: Instances, probabilities: Probabilities | None = None
    ) -> FusionResult:
        assert probabilities is not None  # the config has masks
        self.labels, self.instances, self.probabilities = labels, instances, probabilities
        return FusionResult(PanopticMap(torch.zeros_like(labels, dtype=torch.int32), []), labels, instances)


def fuse(
    fusion: PanopticFusion, labels: torch.Tensor, instances: Instances, probabilities: Probabilities
) -> dict[str, Any]:
    """Return a model's output, as evaluators take it, for a semantic map (H, W) and detections."""
    result = fusion(labels, instances, probabilities)
    panoptic = (result.panoptic.ids, result.panoptic.segments_info)
    return {"sem_seg_labels": result.labels, "instances": result.instances, "panoptic_seg": panoptic}
