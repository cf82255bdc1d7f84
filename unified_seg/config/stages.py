"""Stages: trainings that follow each other in one run, each with the run's config and some keys of its own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from unified_seg.config.alternatives import find_replaced
from unified_seg.config.compare import flatten
from unified_seg.config.heads import training_keys
from unified_seg.config.keys import get_config
from unified_seg.config.reading import RESULT, ConfigError, get_value, set_value
from unified_seg.hints import format_hint

FINAL_WEIGHTS = "model_final.pth"
# A stage has a folder of its name.
NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Stage:
    """One training of a run.

    Attributes:
        name: by which SOLVER.STAGES and STAGES refer to it.
        config: the run's config with the stage's keys and without stages. MODEL.WEIGHTS is the result of the stage
            before; OUTPUT_DIR is a folder of the stage's name in the run's folder, for the last stage the run's folder.
        result: weights that take the place of the stage's training; "" if it is to be trained.
    """

    name: str
    config: CfgNode
    result: str


def read_stages(cfg: CfgNode) -> list[Stage]:
    """Return the stages of a config, in the order of SOLVER.STAGES.

    Raises:
        ConfigError: a stage that STAGES lacks or that comes twice, a name that can't be a folder's; MODEL.WEIGHTS of a
            stage that starts from those of another; a RESULT of the last stage, or of one that SOLVER.STAGES lacks.
    """
    names = [str(name) for name in cfg.SOLVER.STAGES]
    stages: list[Stage] = []
    for name in names:
        _check_name(cfg, name, names)
        config = cfg.clone()
        config.defrost()
        config.STAGES, config.SOLVER.STAGES = CfgNode(new_allowed=True), []
        own = cfg.STAGES[name]
        _update(config, {key: value for key, value in own.items() if key != RESULT})
        for key, value in find_replaced(dict(flatten(own)), f"STAGES.{name}"):
            set_value(config, key, value)
        if stages:
            if "WEIGHTS" in own.get("MODEL", {}):
                instead = format_hint(f"STAGES.{stages[-1].name}.RESULT", own.MODEL.WEIGHTS)
                raise ConfigError(
                    f"STAGES.{name}.MODEL.WEIGHTS: the stage starts from the weights of stage {stages[-1].name}; to "
                    f"start from other weights, leave it out and set {instead}"
                )
            config.MODEL.WEIGHTS = stages[-1].result or str(Path(stages[-1].config.OUTPUT_DIR) / FINAL_WEIGHTS)
        if name != names[-1]:
            config.OUTPUT_DIR = str(Path(cfg.OUTPUT_DIR) / name)
        config.freeze()
        stages.append(Stage(name, config, own.get(RESULT, "")))
    for name in cfg.STAGES if names else ():
        if name not in names and cfg.STAGES[name].get(RESULT, ""):
            raise ConfigError(f"STAGES.{name}.RESULT: unknown stage {name!r}, SOLVER.STAGES has {', '.join(names)}")
    if stages and stages[-1].result:
        key = f"STAGES.{stages[-1].name}.RESULT"
        evaluate = format_hint("--eval-only", "MODEL.WEIGHTS", stages[-1].result, key, "")
        raise ConfigError(
            f"{key}: the last stage has a result, so there is nothing to train; to evaluate, use {evaluate}"
        )
    return stages


def num_skipped_stages(stages: Sequence[Stage]) -> int:
    """Return how many stages, from the first on, are never trained: a RESULT takes the place of those before it too."""
    return max((number for number, stage in enumerate(stages, 1) if stage.result), default=0)


def make_inference_config(cfg: CfgNode) -> CfgNode:
    """Return the config of the model that a run ends with: that of the last stage, with the MODEL.WEIGHTS of `cfg`.

    Keys that only training reads have their defaults, so that no part is frozen and no loss needs its files. A config
    to which all of this applies already is returned as it is.

    Raises:
        ConfigError: as `read_stages` does.
    """
    stages = read_stages(cfg)
    config = (stages[-1].config if stages else cfg).clone()
    config.defrost()
    config.MODEL.WEIGHTS = cfg.MODEL.WEIGHTS
    defaults = get_config()
    for key in training_keys():
        set_value(config, key, get_value(defaults, key))
    config.freeze()
    return cfg if config == cfg else config


def _check_name(cfg: CfgNode, name: str, names: list[str]) -> None:
    if name not in cfg.STAGES:
        known = ", ".join(cfg.STAGES) or "none"
        raise ConfigError(f"SOLVER.STAGES: there is no STAGES.{name}; known: {known}")
    if names.count(name) > 1:
        raise ConfigError(f"SOLVER.STAGES: {name} is there twice")
    if name == "inference":
        raise ConfigError("SOLVER.STAGES: a stage can't be named inference, the name of the folder of the scores")
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"SOLVER.STAGES: {name!r} would be a folder: only letters, digits, _ and - are allowed")


def _update(node: CfgNode, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, CfgNode):
            _update(node[key], value)
        else:
            node[key] = value
