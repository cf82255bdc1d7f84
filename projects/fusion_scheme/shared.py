"""Common options and the config of the scripts in this folder."""

import argparse
from collections.abc import Mapping
from typing import Any

from unified_seg import load_config
from unified_seg.cli import ToolParser
from unified_seg.config import COMPACT, CfgNode, ConfigError
from unified_seg.data.resolve import resolve_config

FUSION = ("MODEL.PANOPTIC_FUSION.NAME", "SemanticGuidedFusion")


def make_parser(doc: str | None, dataset: str | None = None) -> ToolParser:
    """Make a parser with --config-file, --dataset (required unless it has a default), --output and --opts."""
    parser = ToolParser(doc)
    parser.add_config_file()
    help = "a registered data set with its ground truth" + (f"; default: {dataset}" if dataset else "")
    parser.add_dataset(help, required=dataset is None, default=dataset)
    parser.add_output()
    parser.add_overrides()
    return parser


def setup(args: argparse.Namespace, *last: str) -> CfgNode:
    """Read the config for the data set of --dataset, with SemanticGuidedFusion and compact output in any case.

    Args:
        args: read by the parser of `make_parser`.
        last: KEY, VALUE, ... that take precedence over all others.

    Raises:
        ConfigError: see `load_config`; or the data set is unknown or has other classes than the model.
    """
    cfg = load_config(args.config_file, [*COMPACT, *FUSION, *args.opts, *last])
    cfg.DATASETS.TEST = (args.dataset,)
    return resolve_config(cfg)


def before_fusion(outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the predictions before the fusion.

    Raises:
        ConfigError: the fusion refines nothing.
    """
    if "unfused" not in outputs:
        raise ConfigError(
            f"{FUSION[0]} must be {FUSION[1]} and {COMPACT[0]} must be {COMPACT[1]}: do not override them"
        )
    return outputs["unfused"]
