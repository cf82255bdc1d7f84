"""Runs of tools/train_net.py with a config that a test has changed."""

import json
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from example_heads import remove_outside_keys

from unified_seg.config import dump_config
from unified_seg.training.run import run


def write_arguments(cfg: CfgNode, *overrides: str) -> list[str]:
    """Write a config beside its OUTPUT_DIR; return the arguments of a training with it."""
    path = Path(cfg.OUTPUT_DIR).parent / "run.yaml"
    path.write_text(dump_config(remove_outside_keys(cfg.clone())))
    return ["--config-file", str(path), *overrides]


def evaluate(cfg: CfgNode, weights: Path, *overrides: str) -> dict[str, Any]:
    """Return the results of --eval-only by task and metric."""
    config = weights.with_suffix(".yaml")
    config.write_text(cfg.dump())
    run(["--config-file", str(config), "--eval-only", "MODEL.WEIGHTS", str(weights), *overrides])
    (results,) = json.loads((Path(cfg.OUTPUT_DIR) / "inference/results.json").read_text())["results"].values()
    return results
