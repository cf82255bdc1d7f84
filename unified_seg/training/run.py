"""The work of `unified-seg train`. A project with components of its own imports them and calls `run` too."""

import argparse
import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache, partial
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from unified_seg.checkpoint import CheckpointError
from unified_seg.config import COMPACT, Change, check_overrides, load_config
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation import EvaluationError
from unified_seg.html_reports.evaluation.evaluated_config import report_evaluation
from unified_seg.inference.trained_model import load_trained_model
from unified_seg.training.launch import launch
from unified_seg.training.lifecycle.identity import (
    FindCheckpoint,
    check_unused,
    find_checkpoint,
    is_restarted,
    set_run_aside,
)
from unified_seg.training.lifecycle.lock import lock_folder
from unified_seg.training.lifecycle.processes import call_in_first
from unified_seg.training.resume import check_resume, keep_value_range, list_stage_folders
from unified_seg.training.run_setup import prepare_output_folder, set_up_run
from unified_seg.training.stages import run_stages
from unified_seg.training.trainer import Trainer
from unified_seg_cli import run_tool
from unified_seg_cli.train_net import parse_args

logger = logging.getLogger(__name__)


def run(arguments: Sequence[str] | None = None, description: str | None = None) -> Any:
    """Train, or evaluate with --eval-only, with the options of Detectron2's command line.

    Args:
        arguments: the command line; None for that of this process.
        description: text of --help.

    Raises:
        SystemExit: on an error that the user can fix, on Ctrl-C, and on wrong arguments.
    """
    return run_tool(partial(launch, main, parse_args(arguments, description)))


def main(args: argparse.Namespace) -> Any:
    """Run one process of a training or evaluation."""
    resume = "" if args.eval_only else "; with --resume it continues from its last checkpoint"
    return run_tool(partial(train_or_evaluate, args), interrupted=f"interrupted{resume}")


def train_or_evaluate(args: argparse.Namespace) -> Any:
    """Train, in stages if the config has some, or evaluate.

    Raises:
        UserError: the config, the data or the weights can't be used; another process writes to OUTPUT_DIR.
    """
    find = cache(find_checkpoint)
    with ExitStack() as stack:
        cfg, resume, changes = setup(args, stack, find)
        if args.eval_only:
            return evaluate(resolve_config(cfg, for_inference=True))
        try:
            return train(cfg, resume, find)
        except CheckpointError as error:
            if architecture := [str(change) for change in changes if change.key.startswith("MODEL.")]:
                raise CheckpointError(f"{error}; changed since it was written: {'; '.join(architecture)}") from None
            raise


def train(cfg: CfgNode, resume: bool, find: FindCheckpoint) -> OrderedDict[str, Any] | None:
    """Train, in stages if the config has some."""
    if cfg.SOLVER.STAGES:
        return run_stages(cfg, resume, find)
    trainer = Trainer(keep_value_range(cfg, find) if resume else cfg)
    trainer.resume_or_load(resume, find)
    return trainer.train()


def setup(
    args: argparse.Namespace, stack: ExitStack, find: FindCheckpoint = find_checkpoint
) -> tuple[CfgNode, bool, list[Change]]:
    """Read and resolve the config, take the folder of the run, and set up logging.

    Args:
        args: the command line.
        stack: gives the folder back when it is closed.
        find: finds the checkpoint of a folder.

    Returns:
        The config; whether the run is resumed; and what has changed in the config since the checkpoint from which it
        is going to be.

    Raises:
        ConfigError: see `load_config`, `resolve_config`, `prepare_output_folder`, `lock_folder`, `check_unused` and
            `check_resume`.
    """
    cfg = load_config(args.config_file, args.opts, defaults=COMPACT)
    names = [str(name) for name in cfg.SOLVER.STAGES]
    warnings = check_overrides(cfg, args.opts, names[-1:] if args.eval_only else names)
    cfg = resolve_config(cfg)
    call_in_first(lambda: prepare_output_folder(cfg.OUTPUT_DIR))
    call_in_first(lambda: stack.enter_context(lock_folder(cfg.OUTPUT_DIR)))
    changes, resume = [], args.resume
    if not args.eval_only:
        resume = resume or comm.all_gather(is_restarted(cfg.OUTPUT_DIR))[0]
        if resume:
            # Before the config of the earlier run is overwritten.
            changes = check_resume(cfg, find)
            warnings += [f"{change}; it takes effect from here on" for change in changes]
        else:
            call_in_first(lambda: clear_folder(cfg, args.set_aside))
    set_up_run(cfg, args)
    for message in warnings:
        logger.warning(message)
    return cfg, resume, changes


def clear_folder(cfg: CfgNode, set_aside: bool) -> None:
    """Make sure that a new run finds no files of another one in its folder.

    Raises:
        ConfigError: there is a run, which is not to be set aside.
    """
    stages = list_stage_folders(cfg)
    if not set_aside:
        check_unused(cfg.OUTPUT_DIR, stages)
    elif (folder := set_run_aside(cfg.OUTPUT_DIR, stages)) is not None:
        logger.warning(f"the earlier run in {cfg.OUTPUT_DIR} is now in {folder}")


def evaluate(cfg: CfgNode) -> OrderedDict[str, Any]:
    """Evaluate MODEL.WEIGHTS on every test set, on several views of each image if TEST.AUG.ENABLED is set.

    Raises:
        CheckpointError: MODEL.WEIGHTS is empty, or has the classes in another order.
        EvaluationError: an evaluator failed; all other scores and exports are written.
    """
    if not cfg.MODEL.WEIGHTS:
        raise CheckpointError("MODEL.WEIGHTS is empty: there is nothing to evaluate")
    cfg, model = load_trained_model(cfg)
    results, failures = Trainer.evaluate(cfg, model)
    if comm.is_main_process():
        report_evaluation(cfg, model, results)
    if failures:
        raise EvaluationError(f"{'; '.join(failures)}; all other scores and exports are in {cfg.OUTPUT_DIR}/inference")
    if comm.is_main_process():
        verify_results(cfg, results)
    return results
