"""What `tools/train_net.py` does; a project with components of its own imports them and calls `run` too."""

import argparse
import logging
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, default_setup
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from unified_seg.checkpoint.checkpointer import Checkpointer, CheckpointError
from unified_seg.config import COMPACT, ConfigError, changed_since, check_overrides, final_config, load_config
from unified_seg.data.datasets.classes import resolve_dataset_classes
from unified_seg.data.problems import DataError
from unified_seg.inference import with_augmentation
from unified_seg.meta_arch import build_model
from unified_seg.training.launch import launch
from unified_seg.training.stages import run_stages
from unified_seg.training.trainer import Trainer


def run(arguments: list[str] | None = None, epilog: str | None = None) -> Any:
    """Train, or evaluate with --eval-only, as Detectron2's command line says.

    Args:
        arguments: the command line; None for this process's own.
        epilog: shown by --help.
    """
    return launch(main, default_argument_parser(epilog).parse_args(arguments))


def main(args: argparse.Namespace) -> Any:
    """One process of a run."""
    try:
        cfg = setup(args)
        if args.eval_only:
            return evaluate(final_config(cfg))
        if cfg.SOLVER.STAGES:
            return run_stages(cfg, resume=args.resume)
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        return trainer.train()
    except KeyboardInterrupt:
        sys.exit("interrupted" if args.eval_only else "interrupted; with --resume it goes on from its last checkpoint")
    except (ConfigError, DataError, CheckpointError) as error:
        # What a user can mend, without a traceback.
        sys.exit(told(error))


def told(error: Exception) -> str:
    """What an error says in one line; a loader's worker sends its own with a traceback, of which that is the last."""
    name, text = type(error).__name__, str(error)
    if "Original Traceback" in text:
        text = text.rpartition(f"{name}: ")[2].strip()
    return f"{name}: {text}"


def setup(args: argparse.Namespace) -> CfgNode:
    """Read the config, count the classes, start the log."""
    cfg = load_config(args.config_file, args.opts, defaults=COMPACT)
    names = [str(name) for name in cfg.SOLVER.STAGES]
    warnings = check_overrides(cfg, args.opts, names[-1:] if args.eval_only else names)
    cfg = resolve_dataset_classes(cfg)
    if args.resume:
        before = Path(cfg.OUTPUT_DIR) / "config.yaml"
        warnings += [f"{change}; what is trained stays as it is" for change in changed_since(before, cfg)]
    default_setup(cfg, args)
    logger = setup_logger(
        cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="unified_seg", abbrev_name="unified_seg"
    )
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setLevel(logging.INFO)  # details are for log.txt
    for message in warnings:
        logger.warning(message)
    return cfg


def evaluate(cfg: CfgNode) -> OrderedDict[str, Any]:
    """Evaluate MODEL.WEIGHTS on every test set, with TEST.AUG.ENABLED from several views of each image."""
    if not cfg.MODEL.WEIGHTS:
        raise CheckpointError("MODEL.WEIGHTS is empty: there is nothing to evaluate")
    model = build_model(cfg)
    Checkpointer(model, complete=True).load(cfg.MODEL.WEIGHTS)
    cfg, model = with_augmentation(cfg, model)
    results = Trainer.test(cfg, model)
    if comm.is_main_process():
        verify_results(cfg, results)
    return results
