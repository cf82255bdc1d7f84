"""Changed configs of runs that are resumed: which changes take effect, and which are errors.

A run continues with the config that it is resumed with. Its checkpoint holds the weights, the momentum of the
optimizer, the number of iterations, and the config that it was written with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.utils import comm

from unified_seg.checkpoint.run_state import read_config_text, read_iterations, read_trainer_state
from unified_seg.config import Change, ConfigError, Stage, find_changes, get_value, load_dump, read_stages
from unified_seg.config.keys import AUTO
from unified_seg.config.stages import FINAL_WEIGHTS, num_skipped_stages
from unified_seg.data.resolve import resolve_stages
from unified_seg.hints import format_hint
from unified_seg.inference.value_range import adopt_value_range
from unified_seg.training.lifecycle.identity import FindCheckpoint, find_checkpoint, has_checkpoints, is_final
from unified_seg.training.lifecycle.schedule import resolve_schedule
from unified_seg_files import read_bytes

OTHER_START = "a resumed run continues with the weights of its checkpoint"
OTHER_CLASSES = "the weights belong to the classes of the training set"
# Keys that are bound to the state of a run, with the reason.
FIXED_KEYS = {
    "SOLVER.OPTIMIZER": "the state of one optimizer is of no use to another",
    "MODEL.WEIGHTS": OTHER_START,
    "MODEL.TIMM.PRETRAINED": OTHER_START,
    "MODEL.SEM_SEG_HEAD.CLASS_NAMES": OTHER_CLASSES,
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": OTHER_CLASSES,
    "MODEL.ROI_HEADS.NUM_CLASSES": OTHER_CLASSES,
}
# Of the config.yaml of an earlier run.
MAX_CONFIG_BYTES = 4_000_000
# Keys whose values may follow from the length of the run.
AUTO_KEYS = ("SOLVER.WARMUP_ITERS", "TEST.EVAL_PERIOD", "VIS_PERIOD")
CLASS_WEIGHTS = "MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS"
# Keys that have no effect on a complete training, which is only evaluated again.
TRAINING_KEYS = ("SOLVER.", "MODEL_EMA.", "DATASETS.TRAIN")


@dataclass(frozen=True)
class _Progress:
    """How far a stage is.

    Attributes:
        stage: its config is the one to resume with; a run without stages is one without a name.
        checkpoint: the file from which it resumes; None if it starts from its beginning.
        iterations: that were trained.
        is_complete: whether no iteration is left.
        changes: since the checkpoint was written, or, without one, since the run was started last.
    """

    stage: Stage
    checkpoint: Path | None
    iterations: int
    is_complete: bool
    changes: list[Change]


def check_resume(cfg: CfgNode, find: FindCheckpoint = find_checkpoint) -> list[Change]:
    """Compare a config with those of the checkpoints from which its run is going to be resumed.

    Args:
        cfg: a resolved config.
        find: finds the checkpoint of a folder.

    Returns:
        The changes that take effect; none if there is no checkpoint, so that the run starts from its beginning.

    Raises:
        ConfigError: a change that can't take effect: of the stages, of a key in `FIXED_KEYS`, or of a key that only
            trainings that are complete would read.
        CheckpointError: a checkpoint that can't be read.
    """
    cfg = resolve_schedule(cfg)  # as the configs of checkpoints are
    stages = resolve_stages(cfg) or [Stage("", cfg, "")]
    before = _read_earlier_stages(cfg)
    if not any(has_checkpoints(stage.config.OUTPUT_DIR) for stage in [*before.values(), *stages]):
        return []
    if before and list(before) != [stage.name for stage in stages]:
        raise ConfigError(
            f"--resume: SOLVER.STAGES was {[*filter(None, before)]}, is {list(cfg.SOLVER.STAGES)}: a stage starts from "
            f"the weights of the one before; set {format_hint('SOLVER.STAGES', [*filter(None, before)])}, or start "
            f"another run without --resume: {_hint_at_other_folder(cfg)}"
        )
    numbers = range(num_skipped_stages(stages), len(stages))
    progress = [_find_progress(stages, number, before, find) for number in numbers]
    effective: dict[str, Change] = {}
    late: list[tuple[_Progress, Change]] = []
    for stage in progress:
        for change in stage.changes:
            if stage.is_complete and (stage is not progress[-1] or _is_of_training(change)):
                late.append((stage, change))
                continue
            if stage.checkpoint is not None and change.key in FIXED_KEYS:
                raise _fixed_key_error(cfg, stage, change)
            effective[change.key] = change
    for stage, change in late:
        if change.key not in effective:
            raise _late_change_error(cfg, stage, change, is_last=stage is progress[-1])
    return list(effective.values())


def keep_value_range(cfg: CfgNode, find: FindCheckpoint) -> CfgNode:
    """Return the config with the range of values of the checkpoint from which its run resumes, if INPUT has none.

    It stays even if the training images have other values now, to which the weights do not belong.
    """
    found = find(cfg.OUTPUT_DIR)
    return cfg if found is None else adopt_value_range(cfg, found.read(), found.file)


def list_stage_folders(cfg: CfgNode) -> list[str]:
    """Return the names of the folders of stages below OUTPUT_DIR: of this config, and of the run that was there."""
    return sorted({*map(str, cfg.SOLVER.STAGES), *filter(None, _read_earlier_stages(cfg))})


def _read_earlier_stages(cfg: CfgNode) -> dict[str, Stage]:
    """Return, by name, the stages of the config that the run was started with last; empty if it is not known."""
    file = Path(cfg.OUTPUT_DIR) / "config.yaml"
    try:
        earlier = load_dump(read_bytes(file, MAX_CONFIG_BYTES).decode("utf-8")) if file.is_file() else None
    except (OSError, ValueError):
        earlier = None  # damaged
    if earlier is None:
        return {}
    earlier.OUTPUT_DIR = cfg.OUTPUT_DIR  # the folder may have been moved
    stages = read_stages(earlier) if get_value(earlier, "SOLVER.STAGES") else [Stage("", earlier, "")]
    return {stage.name: stage for stage in stages}


def _find_progress(
    stages: Sequence[Stage], number: int, before: Mapping[str, Stage], find: FindCheckpoint
) -> _Progress:
    """Return the progress of a stage, given the stages of the run as it was started last."""
    stage, is_last = stages[number], number == len(stages) - 1
    found = find(stage.config.OUTPUT_DIR)
    checkpoint: Path | None
    if found is not None:
        checkpoint = found.file
        state = found.read()
        trainer = read_trainer_state(state, checkpoint)
        iterations, saved = read_iterations(state, checkpoint), load_dump(read_config_text(trainer, checkpoint))
    else:
        checkpoint, iterations, saved = None, 0, None
    # Checkpoints of earlier versions have no config.
    earlier = saved or (before[stage.name].config if stage.name in before else stage.config)
    now = DefaultTrainer.auto_scale_workers(stage.config, comm.get_world_size()) if saved else stage.config
    changes = [change for change in find_changes(earlier, now) if not _is_no_choice(change, earlier)]
    if number:
        changes = [change for change in changes if not _is_result_of(stages[number - 1], change)]
    is_complete = iterations == stage.config.SOLVER.MAX_ITER if is_last else is_final(found)
    return _Progress(stage, checkpoint, iterations, is_complete, changes)


def _is_no_choice(change: Change, earlier: CfgNode) -> bool:
    """Return whether a change from the earlier config is none of the user's.

    It is that of a folder that was moved, of the range of values or the weights of classes that were found in the
    training images, or of a key that follows from the length of the run.
    """
    if change.key in AUTO_KEYS and AUTO in (change.before, change.now):
        return True
    if change.key == CLASS_WEIGHTS:
        return not change.now and bool(get_value(earlier, "MODEL.SEM_SEG_HEAD.LOSS.FREQUENCY_POWER"))
    return change.key == "OUTPUT_DIR" or (change.key == "INPUT.DEFAULT_VALUE_RANGE" and not change.now)


def _is_result_of(stage: Stage, change: Change) -> bool:
    """Return whether a change is that of the path of a stage's result, in a folder that was moved."""
    tail = (stage.name, FINAL_WEIGHTS)
    return change.key == "MODEL.WEIGHTS" and all(Path(p).parts[-2:] == tail for p in (change.before, change.now))


def _is_of_training(change: Change) -> bool:
    """Return whether a change has no effect on a complete training; a lower SOLVER.MAX_ITER made it complete."""
    return change.key.startswith(TRAINING_KEYS) and change.key != "SOLVER.MAX_ITER"


def _fixed_key_error(cfg: CfgNode, progress: _Progress, change: Change) -> ConfigError:
    reason = FIXED_KEYS[change.key]
    if reason == OTHER_CLASSES:
        keep = "train on the same classes"
    else:
        keep = f"set {_hint_at_former_value(cfg, progress.stage, change)}"
    weights = () if reason == OTHER_START else ("MODEL.WEIGHTS", progress.checkpoint)
    return ConfigError(
        f"--resume: {change}: {reason}; {keep}, or start another run without --resume: "
        f"{_hint_at_other_folder(cfg, *weights)}"
    )


def _late_change_error(cfg: CfgNode, progress: _Progress, change: Change, *, is_last: bool) -> ConfigError:
    stage = f"stage {progress.stage.name}" if progress.stage.name else "the training"
    if is_last:
        longer = format_hint(_name_override(cfg, progress.stage, "SOLVER.MAX_ITER"), 2 * progress.iterations)
        otherwise = f"train longer, such as {longer}"
    else:
        otherwise = f"start another run without --resume: {_hint_at_other_folder(cfg)}"
    return ConfigError(
        f"--resume: {change}: {stage} is complete, with {progress.iterations} iterations, so that the change has no "
        f"effect; set {_hint_at_former_value(cfg, progress.stage, change)}, or {otherwise}"
    )


def _hint_at_former_value(cfg: CfgNode, stage: Stage, change: Change) -> str:
    return format_hint(_name_override(cfg, stage, change.key), change.before)


def _hint_at_other_folder(cfg: CfgNode, *overrides: object) -> str:
    folder = Path(cfg.OUTPUT_DIR)
    return format_hint(*overrides, "OUTPUT_DIR", folder.with_name(f"{folder.name}_2"))


def _name_override(cfg: CfgNode, stage: Stage, key: str) -> str:
    """Return the key that sets the value of a stage: STAGES.<name>.<key> if the stage has a value of its own."""
    own = f"STAGES.{stage.name}.{key}"
    return own if stage.name and get_value(cfg, own) is not None else key
