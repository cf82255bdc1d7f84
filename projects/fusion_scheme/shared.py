"""What the scripts of this folder share: their common arguments, the config that they make, how they end."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unified_seg import load_config
from unified_seg.checkpoint import CheckpointError
from unified_seg.config import COMPACT, CfgNode, ConfigError
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config

FUSION = ("MODEL.PANOPTIC_FUSION.NAME", "SemanticGuidedFusion")


def argument_parser(doc: str | None, dataset: str | None = None) -> argparse.ArgumentParser:
    """--config-file, --dataset (required unless it has a default), --output and --opts."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="the config that the weights belong to")
    words = "a registered data set with its truth" + (f"; default: {dataset}" if dataset else "")
    add("--dataset", required=dataset is None, default=dataset, metavar="NAME", help=words)
    add("--output", type=Path, required=True, metavar="FOLDER", help="where results go")
    add("--opts", nargs=argparse.REMAINDER, default=[], help="config overrides: KEY VALUE ...")
    return parser


def setup(args: argparse.Namespace, *last: str) -> CfgNode:
    """The config, with SemanticGuidedFusion and compact output whatever the file says, for the named data set.

    Args:
        args: as `argument_parser` reads them.
        last: KEY, VALUE, ... that go before everything.

    Raises:
        ConfigError: as `load_config`; or a data set that is unknown or has other classes than the model.
    """
    cfg = load_config(args.config_file, [*COMPACT, *FUSION, *args.opts, *last])
    cfg.DATASETS.TEST = (args.dataset,)
    return resolve_config(cfg)


def before_fusion(outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a model said before its fusion; raises ConfigError where its fusion refines nothing."""
    if "unfused" not in outputs:
        raise ConfigError(
            f"{FUSION[0]} or {COMPACT[0]} was set anew: without {FUSION[1]} and {COMPACT[1]} nothing changes"
        )
    return outputs["unfused"]


def make_folder(path: Path) -> None:
    """Raises DataError where that can't be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--output {path} can't be made: {error.strerror}") from None


def run_to_end(run: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """What a user can mend ends the program in one line, without a traceback."""
    try:
        run(args)
    except (ConfigError, CheckpointError, DataError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
