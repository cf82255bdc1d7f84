"""Trainings that follow each other in one run, each starting from the weights of the one before."""

import gc
import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from torch import nn

from unified_seg.checkpoint import Checkpointer, read_checkpoint
from unified_seg.checkpoint.files import check_is_file
from unified_seg.checkpoint.run_state import read_seconds, read_trainer_state
from unified_seg.config import ConfigError, Stage, dump_config
from unified_seg.config.refused import is_url
from unified_seg.config.stages import FINAL_WEIGHTS, num_skipped_stages
from unified_seg.data.resolve import resolve_stages
from unified_seg.evaluation import add_to_results
from unified_seg.meta_arch import FreezableModel, build_model
from unified_seg.meta_arch.build import check_device
from unified_seg.training.lifecycle.identity import FindCheckpoint, find_checkpoint, is_final, provide_run_id
from unified_seg.training.lifecycle.processes import call_in_first
from unified_seg.training.lifecycle.schedule import resolve_schedule
from unified_seg.training.optimizer import build_lr_scheduler, build_optimizer, check_solver
from unified_seg.training.resume import keep_value_range
from unified_seg.training.run_setup import prepare_output_folder, write_config
from unified_seg.training.step import get_autocast_dtype
from unified_seg.training.test_sets import get_results_file
from unified_seg.training.trainer import Trainer, get_required_weights
from unified_seg.words import ON_CONSOLE

logger = logging.getLogger(__name__)


def run_stages(cfg: CfgNode, resume: bool, find: FindCheckpoint = find_checkpoint) -> OrderedDict[str, Any] | None:
    """Train the stages of SOLVER.STAGES one after another.

    Args:
        cfg: a full config.
        resume: continue from the stage and the checkpoint at which an earlier run was interrupted; otherwise every
            stage starts from its beginning. Stages up to the last one that has a RESULT are never trained.
        find: finds the checkpoint of a folder.

    Returns:
        The results of the last stage's evaluation; None on other processes than the first.

    Raises:
        ConfigError, CheckpointError, DataError: before anything is trained, as `resolve_stages`, `check_stages` and
            `Trainer` do.
    """
    stages = resolve_stages(resolve_schedule(cfg))
    if unused := sorted(cfg.STAGES.keys() - {stage.name for stage in stages}):
        logger.warning(f"SOLVER.STAGES: {', '.join(unused)} of STAGES not used")
    check_stages(stages)
    num_skipped = num_skipped_stages(stages)
    first, checkpoint = find_position(stages, find) if resume else (num_skipped, None)
    results = None
    for number, stage in enumerate(stages):
        title = f"stage {stage.name} ({number + 1} of {len(stages)})"
        if number < num_skipped:
            logger.info(f"{title}: not trained, the result is {stages[num_skipped - 1].result}", extra=ON_CONSOLE)
        elif number < first:
            logger.info(f"{title}: trained before", extra=ON_CONSOLE)
        else:
            is_resumed = number == first and checkpoint is not None
            start = f"resumes from {checkpoint}" if is_resumed else "starts from its beginning"
            logger.info(f"{title}: {start}", extra=ON_CONSOLE)
            if stage is not stages[-1]:
                call_in_first(partial(_prepare_folder, stage, cfg.OUTPUT_DIR))
            trainer = _make_trainer(stage, resume, find)
            results = trainer.train()
            # Its hooks refer to it; it must not keep its model on the GPU while the next stage is trained.
            del trainer
            gc.collect()
    if comm.is_main_process() and results:
        seconds = [_read_train_seconds(stage) for stage in stages[num_skipped:]]
        if None not in seconds:
            add_to_results(get_results_file(stages[-1].config), train_s=sum(filter(None, seconds)))
    return results


def find_position(stages: Sequence[Stage], find: FindCheckpoint) -> tuple[int, str | None]:
    """Return the number, from 0, of the stage at which a run goes on, and the name of its checkpoint, if it has one.

    A stage that has a checkpoint shows that those before it are complete, whatever is left of their folders.

    Raises:
        CheckpointError: all checkpoints of that stage are damaged.
    """
    start = num_skipped_stages(stages)
    for number in range(len(stages) - 1, start - 1, -1):
        found = find(stages[number].config.OUTPUT_DIR)
        if found is not None:
            is_complete = is_final(found) and number < len(stages) - 1
            return (number + 1, None) if is_complete else (number, found.file.name)
    return start, None


def check_stages(stages: Sequence[Stage]) -> None:
    """Check all stages before the first one starts, by building the model of each on the CPU.

    Raises:
        ConfigError: a model or optimizer that can't be built, parts that do not exist or have nothing to train, stages
            out of order.
        DataError, ValueError: data of a later stage that can't be read or evaluated.
        CheckpointError: a RESULT that does not exist; frozen parts that the model of the stage before lacks.
    """
    for stage in stages:
        if stage.result and not is_url(stage.result):
            check_is_file(stage.result, f"STAGES.{stage.name}.RESULT:")
    models = [_build_model(stage) for stage in stages]
    _check_order(stages, models)
    first, *later = stages[num_skipped_stages(stages) :]
    checked = [_data_keys(first)]  # checked when the stage starts
    for stage in later:
        if _data_keys(stage) not in checked:
            Trainer.check_data(stage.config)
            checked.append(_data_keys(stage))
    for (before, source), (stage, model) in pairwise(zip(stages, models)):
        # Weights of a RESULT are checked when they are loaded, before anything is trained.
        if not before.result:
            checkpointer = Checkpointer(model, required=get_required_weights(stage.config, model))
            checkpointer.load_weights(source.state_dict(), f"of stage {before.name} for stage {stage.name}")


def _data_keys(stage: Stage) -> tuple[Any, ...]:
    return stage.config.DATASETS, stage.config.TEST.EXPORT


def _build_model(stage: Stage) -> nn.Module:
    try:
        check_device(stage.config)
        check_solver(stage.config)
        get_autocast_dtype(stage.config)
        cfg = stage.config.clone()
        cfg.defrost()
        cfg.MODEL.DEVICE = "cpu"
        cfg.freeze()
        model = build_model(cfg)
        build_lr_scheduler(cfg, build_optimizer(cfg, model))
    except ConfigError as error:
        raise ConfigError(f"stage {stage.name}: {error}") from None
    return model


def _check_order(stages: Sequence[Stage], models: Sequence[nn.Module]) -> None:
    """Refuse an order of stages in which a part is trained again after another that was trained on its predictions."""
    trained: dict[int, str] = {}
    outdated: dict[int, str] = {}
    for stage, model in zip(stages, models):
        if not isinstance(model, FreezableModel):
            continue  # always trained as a whole
        steps = model.trained_steps()
        for step in trained.keys() - steps:
            if steps and step > min(steps):
                changed = ", ".join(model.training_order()[min(steps)])
                outdated[step] = f"stage {stage.name} trains {changed} after {trained[step]}, which depends on it"
        for step in steps:
            trained[step] = f"stage {stage.name} trained {', '.join(model.training_order()[step])}"
            outdated.pop(step, None)
    if outdated:
        raise ConfigError(f"SOLVER.STAGES: out of order: {outdated[min(outdated)]}")


def _make_trainer(stage: Stage, resume: bool, find: FindCheckpoint) -> Trainer:
    if stage.config.SEED >= 0:
        # The result is the same whether the stages before were trained in this process or in another.
        seed_all_rng(stage.config.SEED + comm.get_rank())
    trainer = Trainer(keep_value_range(stage.config, find) if resume else stage.config)
    trainer.resume_or_load(resume, find)
    return trainer


def _prepare_folder(stage: Stage, folder_of_run: str) -> None:
    folder = stage.config.OUTPUT_DIR
    prepare_output_folder(folder)
    run_id = provide_run_id(folder, provide_run_id(folder_of_run))
    write_config(Path(folder) / "config.yaml", dump_config(stage.config), run_id)


def _read_train_seconds(stage: Stage) -> float | None:
    """Return the duration of the stage's training, over all its runs; None if its result is no longer there."""
    file = Path(stage.config.OUTPUT_DIR) / FINAL_WEIGHTS
    return read_seconds(read_trainer_state(read_checkpoint(file, mmap=True), file), file) if file.is_file() else None
