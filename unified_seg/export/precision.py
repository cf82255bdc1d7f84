"""ONNX graphs in lower precision, by the tools of onnxruntime; docs/export.md has what they cost."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.export.errors import ExportError
from unified_seg_runtime.folder import Description
from unified_seg_runtime.images import make_batch, resize_to_form, to_input

PRECISIONS = ("float32", "float16", "int8")


def convert_graph(path: Path, precision: str, form: Description, images: Sequence[np.ndarray]) -> None:
    """Replace the graph of a file by one of lower precision, with the same inputs and outputs.

    "float16" has weights and maps of 16 bits. "int8" has the convolutions in 8 bits, with ranges of values from images.

    Args:
        path: an ONNX file.
        precision: "float16" or "int8".
        form: of the graph.
        images: for the ranges of "int8", as `unified_seg_runtime.Predictor` takes them.

    Raises:
        ExportError: onnx or onnxruntime are missing.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise ExportError(f"--precision {precision}: {error}; pip install 'unified_seg[export]'") from None
    if precision == "float16":
        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
        return
    quantize_static(
        path,
        path,
        _CalibrationImages(images, form),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


class _CalibrationImages:
    """The inputs by which onnxruntime finds the ranges of values."""

    def __init__(self, images: Sequence[np.ndarray], form: Description):
        self._inputs: Iterator[dict[str, Any]] = (
            dict(zip(("image", "size"), make_batch([resize_to_form(to_input(image, form), form)], form)))
            for image in images
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._inputs, None)
