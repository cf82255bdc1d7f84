"""Hooks of the training loop: the progress bar, the best checkpoint, pictures for TensorBoard."""

import itertools
import logging
import math
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import HookBase
from detectron2.utils.events import get_event_storage
from torch import nn
from tqdm import tqdm

from unified_seg.checkpoint import read_checkpoint, write_checkpoint
from unified_seg.config import ConfigError
from unified_seg.data.io.image_files import read_image
from unified_seg.visualization.panels import draw_panels

logger = logging.getLogger(__name__)


class ProgressBar(HookBase):
    """A bar with the total loss; silent where standard error is no terminal."""

    def before_train(self) -> None:
        self.bar = tqdm(
            initial=self.trainer.start_iter, total=self.trainer.max_iter, desc="training", unit="it", disable=None
        )

    def after_step(self) -> None:
        loss = get_event_storage().latest().get("total_loss")
        if loss is not None:
            self.bar.set_postfix(loss=f"{loss[0]:.3f}", refresh=False)
        self.bar.update()

    def after_train(self) -> None:
        self.bar.close()


class BestCheckpoint(HookBase):
    """Keeps the weights of the best evaluation so far as model_best.pth.

    It writes a plain file of weights: `last_checkpoint`, from which a run resumes, stays where it was.

    Args:
        metric: its path in the results, "task/metric" or "dataset/task/metric"; larger is better.
        folder: to write to.

    Raises:
        ConfigError: an evaluation that has no such metric.
    """

    def __init__(self, metric: str, folder: str):
        self.metric = metric
        self.path = Path(folder) / "model_best.pth"
        self.best = -math.inf
        self._seen: object = None

    def before_train(self) -> None:
        # The file itself is the state: checkpoints are written before evaluations and would lag behind it.
        if self.trainer.start_iter > 0 and self.path.is_file():
            self.best = read_checkpoint(self.path).get(self.metric, -math.inf)

    def after_step(self) -> None:
        self._look()

    def after_train(self) -> None:
        self._look()

    def _look(self) -> None:
        results = getattr(self.trainer, "_last_eval_results", None)
        if results is None or results is self._seen:
            return
        self._seen = results
        value = results
        for part in self.metric.split("/"):
            if not isinstance(value, dict) or part not in value:
                raise ConfigError(f"TEST.BEST_CHECKPOINT_METRIC: the evaluation gave no {self.metric!r}")
            value = value[part]
        if float(value) > self.best:
            self.best = float(value)
            write_checkpoint(self.path, {"model": unwrap(self.trainer.model).state_dict(), self.metric: self.best})
            logger.info(f"{self.metric} {self.best:.2f} is the best so far: {self.path}")


class PictureSamples(HookBase):
    """Draws a few test images into TensorBoard every so often.

    Args:
        cfg: names the test set; VIS_PERIOD says how often.
        loader: of the test set.
        count: how many images.
    """

    def __init__(self, cfg: CfgNode, loader: Any, count: int = 4):
        self.period = cfg.VIS_PERIOD
        self.metadata = MetadataCatalog.get(cfg.DATASETS.TEST[0])
        self.samples = [batch[0] for batch in itertools.islice(loader, count)]

    def after_step(self) -> None:
        if (self.trainer.iter + 1) % self.period:
            return
        model = unwrap(self.trainer.model)
        model.eval()
        with torch.no_grad():
            outputs = model(self.samples)
        model.train()
        for index, (sample, output) in enumerate(zip(self.samples, outputs)):
            # Outputs have the size of the original image, the model's input need not.
            picture = draw_panels(read_image(sample["file_name"], "RGB"), output, self.metadata)
            get_event_storage().put_image(f"samples/{index}", torch.from_numpy(picture.transpose(2, 0, 1).copy()))


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
