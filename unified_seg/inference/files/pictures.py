"""Drawn pictures of predictions, beside the ground truth of their record if it has one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.inference.files.writers import Json, PredictedImage, Writer
from unified_seg.inference.predictor import Predictor
from unified_seg.visualization import draw_panels, draw_with_ground_truth
from unified_seg.visualization.canvas import write_picture
from unified_seg.visualization.ground_truth_outputs import read_ground_truth


def draw_prediction(
    predictor: Predictor, record: Mapping[str, Any], image: np.ndarray, outputs: Mapping[str, Any], threshold: float
) -> np.ndarray:
    """Draw the outputs for an image and, if the record has ground truth, this and the wrong pixels below them.

    Args:
        predictor: that made the outputs.
        record: of a data set, with the ids of the model; or with nothing but `file_name`.
        image: as `Predictor.read` returns it.
        outputs: of the model.
        threshold: the lowest score of an instance that is drawn.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        DataError: a ground truth that can't be read.
    """
    picture = predictor.to_picture(image)
    size = {"height": image.shape[0], "width": image.shape[1]}
    ground_truth = read_ground_truth({**record, **size}, predictor.classes)
    if not ground_truth:
        return draw_panels(picture, outputs, predictor.metadata, threshold)
    return draw_with_ground_truth(picture, outputs, predictor.metadata, ground_truth, threshold)


class PictureWriter(Writer):
    """pictures/<name>.jpg, as tools/demo.py draws them.

    Args:
        folder: see `Writer`.
        predictor: that makes the outputs.
        threshold: the lowest score of an instance that is drawn.
    """

    def __init__(self, folder: Path, predictor: Predictor, threshold: float):
        super().__init__(folder, predictor.classes)
        self.predictor = predictor
        self.threshold = threshold

    def write(self, predicted: PredictedImage) -> Json:
        source = predicted.item.source
        record = {} if isinstance(source, np.ndarray) else source
        drawn = draw_prediction(self.predictor, record, predicted.image, predicted.outputs, self.threshold)
        write_picture(self.find_path("pictures", predicted.item, ".jpg"), drawn)
        return {}
