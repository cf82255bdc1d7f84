"""A run: one row with one seed, in a folder of its own, with a record of what was run there.

The record holds the resolved config, what the run reads of it. A run counts as done only while its config still says
the same; keys that appear or go as the project grows do not make an old run another one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from unified_seg.config import CfgNode, ConfigError, Stage, load_config, read_stages
from unified_seg.config.compare import describe_differences, flatten
from unified_seg.config.heads import nested_heads, wrapper_nodes
from unified_seg.config.stages import num_skipped_stages
from unified_seg.data.io.text_files import write_json
from unified_seg.reporting.ablation.plan import AblationPlan, Row

RECORD = "ablation_run.json"
LOG = "ablation_log.txt"
CHECKPOINT = "model_final.pth"
RESULTS = Path("inference") / "results.json"
#: Where a run is written and on how many processes it loads images do not change what it is.
NOT_COMPARED = ("OUTPUT_DIR", "DATALOADER.NUM_WORKERS")


class State(Enum):
    """What a run's folder holds."""

    ABSENT = "absent"
    INTERRUPTED = "interrupted"  # with a checkpoint to resume from
    OTHER = "other"  # a run of another config or base: it is set aside, never resumed or deleted
    DONE = "done"


@dataclass(frozen=True)
class Run:
    """One row with one seed.

    Attributes:
        row, seed: which.
        folder: its OUTPUT_DIR.
        base: the folder of its base row's run with the same seed.
        overrides: KEY, VALUE, ... for the command line, all strings.
        config: the resolved config, flat.
        trainings: the folder and the iterations of each of its trainings in turn; several where it has stages.
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

    def command(self, interpreter: str, train_script: Path, resume: bool) -> list[str]:
        """The command line that does the run from the root of the repository."""
        flags = ["--eval-only"] if self.row.kind == "evaluate" else ["--resume"] if resume else []
        return [interpreter, str(train_script), "--config-file", self.row.config, *flags, *self.overrides]

    def state(self) -> State:
        """What its folder holds."""
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            return State.ABSENT
        record = read_record(self.folder)
        if record is None or self.differences(record):
            return State.OTHER
        if record["finished"] is not None and (self.folder / RESULTS).is_file():
            return State.DONE
        resumable = any(any(folder.glob("*.pth")) for folder, _ in self.trainings)
        return State.INTERRUPTED if resumable else State.ABSENT

    def differences(self, record: Mapping[str, Any]) -> list[str]:
        """What the recorded run had otherwise than this one, in words; empty where they are the same run."""
        before, now = record["config"], json.loads(json.dumps(self.config))
        words = describe_differences(before, now)
        if record["base_finished"] != self.base_finished():
            words.append("its base was trained anew")
        return words

    def base_finished(self) -> str | None:
        """When the base's run ended, which tells one training of it from another; None without a (finished) base."""
        record = read_record(self.base) if self.base is not None else None
        return None if record is None else record["finished"]

    def set_aside(self) -> Path:
        """Rename its folder to <folder>.old<number> and return the new path."""
        number = 1
        while (target := self.folder.with_name(f"{self.folder.name}.old{number}")).exists():
            number += 1
        return self.folder.rename(target)


def plan_runs(
    plan: AblationPlan, rows: Sequence[Row], seeds: Sequence[int], output: Path, root: Path, device: str | None
) -> list[Run]:
    """The runs of these rows, seed by seed, bases first, each config resolved and checked.

    Args:
        plan: where the rows come from.
        rows: in an order in which bases come before their users.
        seeds: of each row.
        output: the folder of the project's runs; a run goes to <output>/<row>/seed<seed>.
        root: to which config paths are relative.
        device: MODEL.DEVICE; None: what the configs say.

    Raises:
        ValueError: a config key that does not exist, a value of another type, stages that can't be; it names the row.
    """
    return [_resolve(plan, row, seed, output, root, device) for seed in seeds for row in rows]


def _resolve(plan: AblationPlan, row: Row, seed: int, output: Path, root: Path, device: str | None) -> Run:
    folder = output / row.slug / f"seed{seed}"
    base = output / plan.row(row.base).slug / f"seed{seed}" if row.base is not None else None
    settings: dict[str, Any] = {**plan.budget, **row.overrides}
    settings["DATASETS.TEST"] = tuple(plan.datasets.values())
    if device is not None:
        settings["MODEL.DEVICE"] = device
    if base is not None:
        settings["MODEL.WEIGHTS"] = _from_root(base / CHECKPOINT, root)
    overrides = ["SEED", str(seed), "OUTPUT_DIR", _from_root(folder, root)]
    for key, value in settings.items():
        overrides += [str(key), _as_word(value)]
    try:
        cfg = load_config(root / row.config, overrides)
        stages = read_stages(cfg)
    except ConfigError as error:
        raise ValueError(f"row {row.name!r}: {error}") from None
    config = _compared(cfg, stages)
    # Another version of the data is another run, though the config names the same data set.
    config["toyscapes"] = plan.toyscapes.as_dict() if plan.toyscapes is not None else None
    trained = [stage.config for stage in stages[num_skipped_stages(stages) :]] if stages else [cfg]
    trainings = tuple((root / each.OUTPUT_DIR, each.SOLVER.MAX_ITER) for each in trained)
    return Run(row, seed, folder, base, tuple(overrides), config, trainings)


def _compared(cfg: CfgNode, stages: Sequence[Stage]) -> dict[str, Any]:
    """All of a run's config but what it doesn't read: stages that don't run, heads that none puts around another."""
    cfg = cfg.clone()
    nodes = cfg.pop("STAGES")
    heads = {name for each in ([stage.config for stage in stages] or [cfg]) for name in nested_heads(each)}
    unused = tuple(f"MODEL.SEM_SEG_HEAD.{node}." for name, node in wrapper_nodes().items() if name not in heads)
    config = {key: value for key, value in flatten(cfg) if key not in NOT_COMPARED and not key.startswith(unused)}
    # A key of a stage that comes or goes is a change of the run, not of the project.
    config["STAGES"] = dict(flatten({name: nodes[name] for name in cfg.SOLVER.STAGES if name in nodes}))
    return config


def _from_root(path: Path, root: Path) -> str:
    """As a run sees it, which starts in `root`: a repository that moves keeps its runs."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _as_word(value: Any) -> str:
    """A value as Detectron2's command line reads it back: strings as they are, the rest as Python writes it."""
    return value if isinstance(value, str) else repr(value)


def now() -> str:
    """The time to the microsecond, so that two runs never share it."""
    return datetime.now().astimezone().isoformat()


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of the run in `folder`; None where there is none, or one that an interruption left half written."""
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of the run in `folder`; a reader sees the old or the new one, whenever this is interrupted."""
    write_json(folder / RECORD, record)
