"""The writers of SOLVER.WRITERS, by their names."""

import importlib.util
from collections.abc import Callable

from detectron2.config import CfgNode
from detectron2.utils.events import EventWriter, TensorboardXWriter

from unified_seg.config import ConfigError
from unified_seg.training.writers.experiment import ImageSink
from unified_seg.training.writers.mlflow_writer import MlflowWriter
from unified_seg.training.writers.wandb_writer import WandbWriter

# By name: the package, and what makes the writer of a config and the id of a run.
WRITERS: dict[str, tuple[str, Callable[[CfgNode, str], EventWriter]]] = {
    "wandb": ("wandb", WandbWriter),
    "mlflow": ("mlflow", MlflowWriter),
    # Detectron2's, which drops the pictures that it has written: the last one.
    "tensorboard": ("tensorboard", lambda cfg, run_id: TensorboardXWriter(cfg.OUTPUT_DIR)),
}


def check_writers(cfg: CfgNode) -> None:
    """Raise ConfigError if SOLVER.WRITERS names an unknown writer, or one whose package is not installed."""
    for name in cfg.SOLVER.WRITERS:
        if name not in WRITERS:
            raise ConfigError(f"SOLVER.WRITERS: unknown writer {name!r}; known: {', '.join(WRITERS)}")
        package = WRITERS[name][0]
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"SOLVER.WRITERS: {name} needs a package: pip install {package}")


def build_writers(cfg: CfgNode, run_id: str) -> list[EventWriter]:
    """Return the writers of SOLVER.WRITERS, see `check_writers`."""
    writers = [make(cfg, run_id) for name, (_, make) in WRITERS.items() if name in cfg.SOLVER.WRITERS]
    return writers if "tensorboard" in cfg.SOLVER.WRITERS else [*writers, ImageSink()]
