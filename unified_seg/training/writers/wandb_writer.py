"""The writer for Weights & Biases, which reads its own settings: WANDB_PROJECT, WANDB_MODE=offline ..."""

import os
from collections.abc import Mapping
from typing import Any

from unified_seg.config.compare import flatten
from unified_seg.training.writers.experiment import ExperimentWriter


class WandbWriter(ExperimentWriter):
    """Send the curves, pictures and the config of a training to Weights & Biases; see `ExperimentWriter`."""

    def start(self) -> None:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "unified_seg"),
            id=self.key,
            name=self.name,
            config=dict(flatten(self.cfg)),
            dir=self.cfg.OUTPUT_DIR,
            resume="allow",
        )

    def send(self, values: Mapping[str, float], pictures: Mapping[str, Any], iteration: int) -> None:
        images = {name: self._wandb.Image(picture) for name, picture in pictures.items()}
        self._run.log({**values, **images}, step=iteration)

    def close(self) -> None:
        if self._is_started:
            self._run.finish()
