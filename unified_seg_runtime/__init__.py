"""Predict with an exported model, without torch and Detectron2: numpy, numba, Pillow and onnxruntime are enough.

    from unified_seg_runtime import Predictor, draw_prediction, read_image

    predictor = Predictor("exported")
    image = read_image("street.jpg")
    prediction = predictor(image)
    draw_prediction(image, prediction, predictor.classes)

`tools/export.py` of unified_seg writes the folder of such a model, see docs/export.md.
"""

from unified_seg_runtime.drawing import draw_prediction
from unified_seg_runtime.folder import Description, FolderError, read_description
from unified_seg_runtime.images import ImageError, decode_image, read_image
from unified_seg_runtime.picture_files import read_images
from unified_seg_runtime.predictor import Predictor
from unified_seg_runtime.results import Instances, Prediction

__all__ = [
    "Description",
    "FolderError",
    "ImageError",
    "Instances",
    "Prediction",
    "Predictor",
    "decode_image",
    "draw_prediction",
    "read_description",
    "read_image",
    "read_images",
]
