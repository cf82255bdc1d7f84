"""What the writers for tracking servers share."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventWriter, get_event_storage


class ExperimentWriter(EventWriter):
    """A writer that sends the scalars of each iteration, and pictures, to a tracking server.

    It starts when it writes first, so that a trainer that is only built leaves no trace there. Subclasses implement
    `start`, `send` and `close`.

    Args:
        cfg: the config of the training; the name of OUTPUT_DIR is that of the experiment's run.
        run_id: of the run. A resumed run goes on under the same name; the stages of a run have one each.
        window_size: of the smoothed values.
    """

    def __init__(self, cfg: CfgNode, run_id: str, window_size: int = 20):
        self.cfg = cfg
        self.name = Path(cfg.OUTPUT_DIR).resolve().name
        self.key = f"{run_id}-{re.sub(r'[^A-Za-z0-9_-]', '_', self.name)}"
        self._window_size = window_size
        self._last_write = -1
        self._is_started = False

    def start(self) -> None:
        """Begin the run on the server, or go on with it."""
        raise NotImplementedError

    def send(self, values: Mapping[str, float], pictures: Mapping[str, Any], iteration: int) -> None:
        """Send scalars and pictures, (H, W, 3) uint8 arrays, of an iteration."""
        raise NotImplementedError

    def write(self) -> None:
        if not self._is_started:
            self.start()
            self._is_started = True
        storage = get_event_storage()
        scalars: dict[int, dict[str, float]] = {}
        for name, (value, iteration) in storage.latest_with_smoothing_hint(self._window_size).items():
            if iteration > self._last_write:
                scalars.setdefault(iteration, {})[name] = value
        pictures: dict[int, dict[str, Any]] = {}
        for name, picture, iteration in storage._vis_data:
            pictures.setdefault(iteration, {})[name] = torch.as_tensor(picture).permute(1, 2, 0).numpy()
        for iteration in sorted(scalars.keys() | pictures.keys()):
            self.send(scalars.get(iteration, {}), pictures.get(iteration, {}), iteration)
        self._last_write = max(scalars, default=self._last_write)


class ImageSink(EventWriter):
    """Drop the pictures that all other writers have written, as Detectron2's writer for TensorBoard does."""

    def write(self) -> None:
        get_event_storage().clear_images()
