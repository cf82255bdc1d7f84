"""Stages: trainings that follow each other in one run, each the config with some keys of its own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from unified_seg.config.heads import training_keys
from unified_seg.config.keys import get_config
from unified_seg.config.reading import RESULT, ConfigError, value_of

FINAL_WEIGHTS = "model_final.pth"
# A stage has a folder of its name.
NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Stage:
    """One training of a run.

    Attributes:
        name: by which SOLVER.STAGES and STAGES know it.
        config: the run's config with the stage's keys and without stages. MODEL.WEIGHTS is the result of the stage
            before; OUTPUT_DIR is a folder of that name in the run's, of the last stage the run's itself.
        result: weights with which the stage is done; "" if it is to be trained.
    """

    name: str
    config: CfgNode
    result: str


def read_stages(cfg: CfgNode) -> list[Stage]:
    """The stages of a config, in the order of SOLVER.STAGES.

    Raises:
        ConfigError: a stage that STAGES lacks or that comes twice, a name that can't be a folder's, weights of its own
            for a stage that starts from those of another, a last stage that is done already, a RESULT of a stage that
            is none of them.
    """
    names = [str(name) for name in cfg.SOLVER.STAGES]
    stages: list[Stage] = []
    for name in names:
        _check_name(cfg, name, names)
        config = cfg.clone()
        config.defrost()
        config.STAGES, config.SOLVER.STAGES = CfgNode(new_allowed=True), []
        own = cfg.STAGES[name]
        _set(config, {key: value for key, value in own.items() if key != RESULT})
        if stages:
            if "WEIGHTS" in own.get("MODEL", {}):
                raise ConfigError(
                    f"STAGES.{name}.MODEL.WEIGHTS: the stage starts from the weights of the one before, those of "
                    f"others are STAGES.{stages[-1].name}.RESULT"
                )
            config.MODEL.WEIGHTS = stages[-1].result or str(Path(stages[-1].config.OUTPUT_DIR) / FINAL_WEIGHTS)
        if name != names[-1]:
            config.OUTPUT_DIR = str(Path(cfg.OUTPUT_DIR) / name)
        config.freeze()
        stages.append(Stage(name, config, own.get(RESULT, "")))
    for name in cfg.STAGES if names else ():
        if name not in names and cfg.STAGES[name].get(RESULT, ""):
            raise ConfigError(f"STAGES.{name}.RESULT: {name} is none of SOLVER.STAGES, which are {', '.join(names)}")
    if stages and stages[-1].result:
        raise ConfigError(
            f"STAGES.{stages[-1].name}.RESULT: the last stage is done, so there is nothing to train; evaluate with "
            "--eval-only MODEL.WEIGHTS ..."
        )
    return stages


def given(stages: Sequence[Stage]) -> int:
    """How many stages, from the first on, are never trained: a RESULT stands for those before it too."""
    return max((number for number, stage in enumerate(stages, 1) if stage.result), default=0)


def final_config(cfg: CfgNode) -> CfgNode:
    """The config of the model that a run ends with: that of the last stage, with the MODEL.WEIGHTS of `cfg`.

    The model is to answer, not to learn, so no part of it is frozen, and it needs no file for its loss.

    Raises:
        ConfigError: as `read_stages`.
    """
    config = (read_stages(cfg)[-1].config if cfg.SOLVER.STAGES else cfg).clone()
    config.defrost()
    defaults = get_config()
    config.MODEL.WEIGHTS, config.SOLVER.TRAIN_PARTS = cfg.MODEL.WEIGHTS, []
    for key in training_keys():
        config.merge_from_list([key, value_of(defaults, key)])
    config.freeze()
    return config


def _check_name(cfg: CfgNode, name: str, names: list[str]) -> None:
    if name not in cfg.STAGES:
        known = ", ".join(cfg.STAGES) or "none"
        raise ConfigError(f"SOLVER.STAGES: there is no STAGES.{name}; known: {known}")
    if names.count(name) > 1:
        raise ConfigError(f"SOLVER.STAGES: {name} is there twice")
    if name == "inference":
        raise ConfigError("SOLVER.STAGES: inference is the folder of the scores, a stage can't have its name")
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"SOLVER.STAGES: {name!r} would be a folder: only letters, digits, _ and - are allowed")


def _set(node: CfgNode, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, CfgNode):
            _set(node[key], value)
        else:
            node[key] = value
