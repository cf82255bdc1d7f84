"""The runs of an ablation: one row with one seed each, in a folder of its own with a record of what was run there.

A run is finished only while its config equals the recorded one. Keys that exist in only one of the two do not count:
they come and go as the project grows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from unified_seg.config import CfgNode, ConfigError, Stage, get_value, load_config, read_stages
from unified_seg.config.compare import describe_differences, flatten
from unified_seg.config.heads import nested_heads, wrapper_nodes
from unified_seg.config.stages import FINAL_WEIGHTS, num_skipped_stages
from unified_seg.reporting.ablation.plan import AblationPlan, Row
from unified_seg.reporting.ablation.run_files import RESULTS, RunRecord, read_record
from unified_seg.reporting.errors import ReportingError
from unified_seg.training.lifecycle.identity import holds_run

#: Keys whose change does not make another run: where it is written, and on how many processes it loads images.
NOT_COMPARED = ("OUTPUT_DIR", "DATALOADER.NUM_WORKERS")
#: An ablation compares the ends of trainings: by default it does not evaluate or draw before.
DEFAULTS: dict[str, Any] = {"TEST.EVAL_PERIOD": 0, "TEST.BEST_CHECKPOINT_METRIC": "", "VIS_PERIOD": 0}


class State(Enum):
    """The state of a run's folder."""

    ABSENT = "absent"
    INTERRUPTED = "interrupted"  # with a checkpoint to resume from, or killed before its first one
    DIFFERENT = "different"  # a run of another config or base: it is renamed, never resumed or deleted
    FINISHED = "finished"


@dataclass(frozen=True)
class Run:
    """One row with one seed.

    Attributes:
        row, seed: which.
        folder: its OUTPUT_DIR.
        base: the folder of its base row's run with the same seed.
        overrides: KEY, VALUE, ... for the command line, all strings.
        config: the resolved config, flat.
        trainings: the folder and the iterations of each of its trainings in turn; several if it has stages.
    """

    row: Row
    seed: int
    folder: Path
    base: Path | None
    overrides: tuple[str, ...]
    config: Mapping[str, Any]
    trainings: tuple[tuple[Path, int], ...]

    def __str__(self) -> str:
        return f"{self.row.name}, seed {self.seed}"

    def build_command(self, interpreter: str, train_script: Path, resume: bool) -> list[str]:
        """Return the command line of the run, to be started in the root of the repository."""
        flags = ["--eval-only"] if self.row.kind == "evaluate" else ["--resume"] if resume else []
        return [interpreter, str(train_script), "--config-file", self.row.config, *flags, *self.overrides]

    def find_state(self) -> State:
        """Return the state of its folder."""
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            return State.ABSENT
        record = read_record(self.folder)
        if record is None or self.list_differences(record):
            return State.DIFFERENT
        if record.finished is not None and (self.folder / RESULTS).is_file():
            return State.FINISHED
        has_begun = any(holds_run(folder) for folder, _ in self.trainings)
        return State.INTERRUPTED if has_begun else State.ABSENT

    def list_differences(self, record: RunRecord) -> list[str]:
        """Return in words what differs between the recorded run and this one; nothing if they are the same run."""
        words = describe_differences(record.config, json.loads(json.dumps(self.config)))
        if record.base_finished != self.find_base_time():
            words.append("its base was trained again")
        return words

    def find_base_time(self) -> str | None:
        """Return when the base's run ended, which tells two trainings of it apart; None without a finished base."""
        record = read_record(self.base) if self.base is not None else None
        return None if record is None else record.finished

    def set_aside(self) -> Path:
        """Rename its folder to <folder>.old<number> and return the new path."""
        number = 1
        while (target := self.folder.with_name(f"{self.folder.name}.old{number}")).exists():
            number += 1
        return self.folder.rename(target)


def plan_runs(
    plan: AblationPlan, rows: Sequence[Row], seeds: Sequence[int], output: Path, root: Path, device: str | None
) -> list[Run]:
    """Return the runs of these rows, seed by seed, bases first, each config resolved and checked.

    Args:
        plan: the plan that the rows are from.
        rows: bases before their users.
        seeds: of each row.
        output: the folder of the project's runs; a run is written to <output>/<row>/seed<seed>.
        root: to which config paths are relative.
        device: MODEL.DEVICE; None: that of the configs.

    Raises:
        ReportingError: with the row: an unknown config key, a value of a wrong type, invalid stages.
    """
    return [_resolve(plan, row, seed, output, root, device) for seed in seeds for row in rows]


def _resolve(plan: AblationPlan, row: Row, seed: int, output: Path, root: Path, device: str | None) -> Run:
    folder = output / row.slug / f"seed{seed}"
    base = output / plan.find_row(row.base).slug / f"seed{seed}" if row.base is not None else None
    settings: dict[str, Any] = {**plan.budget, **row.overrides}
    settings["DATASETS.TEST"] = tuple(plan.datasets.values())
    if device is not None:
        settings["MODEL.DEVICE"] = device
    if base is not None:
        settings["MODEL.WEIGHTS"] = _relative_to(root, base / FINAL_WEIGHTS)
    overrides = ["SEED", str(seed), "OUTPUT_DIR", _relative_to(root, folder)]
    for key, value in settings.items():
        overrides += [key, _format_override(value)]
    try:
        defaults = [word for item in DEFAULTS.items() for word in item]
        cfg = load_config(root / row.config, overrides, defaults)
        stages = read_stages(cfg)
    except ConfigError as error:
        raise ReportingError(f"projects/{plan.project}/ablation.yaml: row {row.name!r}: {error}") from None
    overrides += [word for key in DEFAULTS for word in (key, _format_override(get_value(cfg, key)))]
    config = _flatten_compared(cfg, stages)
    # Another version of the data is another run, though the config names the same data set.
    config["toyscapes"] = plan.toyscapes.as_dict() if plan.toyscapes is not None else None
    config["images"] = dict(plan.images)
    trained = [stage.config for stage in stages[num_skipped_stages(stages) :]] if stages else [cfg]
    trainings = tuple((root / each.OUTPUT_DIR, each.SOLVER.MAX_ITER) for each in trained)
    return Run(row, seed, folder, base, tuple(overrides), config, trainings)


def _flatten_compared(cfg: CfgNode, stages: Sequence[Stage]) -> dict[str, Any]:
    """Return the flat config without what the run does not read: unused stages and nodes of unused wrapper heads."""
    cfg = cfg.clone()
    nodes = cfg.pop("STAGES")
    unused = _list_unused_nodes([stage.config for stage in stages] or [cfg])
    config = {key: value for key, value in flatten(cfg) if key not in NOT_COMPARED and not key.startswith(unused)}
    # One entry for all stages: a key that is added to one or removed is a change of the run, not of the project.
    config["STAGES"] = dict(flatten({name: nodes[name] for name in cfg.SOLVER.STAGES if name in nodes}))
    return config


def _list_unused_nodes(configs: Sequence[CfgNode]) -> tuple[str, ...]:
    """Return the prefixes of the config keys of wrapper heads that none of the configs has."""
    heads = {name for cfg in configs for name in nested_heads(cfg)}
    return tuple(f"MODEL.SEM_SEG_HEAD.{node}." for name, node in wrapper_nodes().items() if name not in heads)


def _relative_to(root: Path, path: Path) -> str:
    """Return a path as a run sees it, which starts in `root`: a repository that is moved keeps its runs."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _format_override(value: Any) -> str:
    """Return a value as Detectron2's command line reads it: strings as they are, the rest as Python writes it."""
    return value if isinstance(value, str) else repr(value)
