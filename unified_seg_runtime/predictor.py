"""An exported model on images."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from unified_seg_runtime.folder import FolderError, read_description
from unified_seg_runtime.images import ImageError, make_batch, resize_to_form, to_input
from unified_seg_runtime.postprocessing import finish
from unified_seg_runtime.results import Prediction

# From images (N, C, H, W) uint8 and their sizes (N, 2) int64 to the results of a graph by name.
Network = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]


class Predictor:
    """A predictor for images.

    Args:
        folder: of an exported model.
        network: runs its graph; None: onnxruntime does, which needs a graph in ONNX.
        threads: of onnxruntime; 0 = one for each core.

    Attributes:
        form: what the graph needs and predicts.
        classes: names, ids and colors.

    Raises:
        FolderError: not such a folder, a changed file, or a graph of another format.
    """

    def __init__(self, folder: str | Path, network: Network | None = None, threads: int = 0):
        self.form = read_description(folder)
        self.classes = self.form.make_table()
        self.network = network or open_onnx(Path(folder) / self.form.graph, self.form.format, threads)

    def __call__(self, image: np.ndarray) -> Prediction:
        """Return the prediction for one image, see `predict_batch`."""
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Return the predictions for images at once, each at the image's size.

        Images of different sizes are padded to the largest, so that predictions near their borders may change.

        Args:
            images: at most as many as the graph takes, see `form.batch`; (H, W, 3) uint8 RGB whatever order the model
                reads, (H, W) gray, or (H, W, C) with the channels that it reads.

        Raises:
            ImageError: other channels than the model reads, or more images than the graph takes.
        """
        if not 0 < len(images) <= self.form.batch:
            raise ImageError(f"the graph takes 1 to {self.form.batch} images at once, got {len(images)}")
        inputs = [resize_to_form(to_input(image, self.form), self.form) for image in images]
        results = self.network(*make_batch(inputs, self.form))
        return [
            finish(results, index, _get_size(resized), _get_size(image), self.form, self.classes)
            for index, (image, resized) in enumerate(zip(images, inputs))
        ]


def open_onnx(path: Path, format: str, threads: int = 0) -> Network:
    """Return a graph in ONNX as a function.

    Raises:
        FolderError: another format, onnxruntime is missing, or it can't run the graph.
    """
    if format != "onnx":
        raise FolderError(f"{path}: a graph of the format {format} needs PyTorch; give `network`, or export to onnx")
    try:
        import onnxruntime
    except ImportError:
        raise FolderError(f"{path}: onnxruntime runs this graph; pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own for each status
        raise FolderError(f"{path}: onnxruntime can't run it: {' '.join(str(error).split())}") from None
    inputs, outputs = [each.name for each in session.get_inputs()], [each.name for each in session.get_outputs()]

    def run(image: np.ndarray, size: np.ndarray) -> Mapping[str, np.ndarray]:
        given = {"image": image, "size": size}
        return dict(zip(outputs, session.run(outputs, {name: given[name] for name in inputs})))

    return run


def _get_size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
