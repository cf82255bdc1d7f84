"""Graphs of a network in files, and functions that run them."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from unified_seg.export.errors import ExportError, UnsupportedExportError
from unified_seg.export.network import INPUT_NAMES, ExportableNetwork
from unified_seg.export.operators import exportable_operators

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "torchscript": ".ts"}
# The largest side of an input of open size: of a photograph of 64 megapixels.
MAX_SIDE = 8192
# An input of open size is traced with this many steps of the network's stride, both different from other dimensions.
TRACED_STEPS = (5, 7)
OPSET = 18


def write_graph(network: ExportableNetwork, path: Path, format: str, size: tuple[int, int] | None, batch: int) -> None:
    """Write the graph of a network.

    Args:
        network: in inference mode, on the CPU.
        path: the file.
        format: one of SUFFIXES.
        size: height and width of the input; None: open.
        batch: images of the input.

    Raises:
        ExportError: PyTorch can't export the network in this format.
    """
    inputs = make_inputs(network, size, batch)
    with torch.no_grad(), _quiet(), _report(format), exportable_operators():
        if format == "torch_export":
            torch.export.save(export_program(network, inputs, size is None), path)
        elif format == "torchscript":
            torch.jit.save(torch.jit.trace(network, inputs, check_trace=False), path)
        else:
            # By a trace: through a program of torch.export it takes ten times as long, and small images are refused.
            torch.onnx.export(
                network,
                inputs,
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=list(INPUT_NAMES),
                output_names=network.output_names,
                dynamic_axes=_name_open_sides(network, size is None),
            )


def make_inputs(network: ExportableNetwork, size: tuple[int, int] | None, batch: int) -> tuple[Tensor, Tensor]:
    """Return noise as inputs to trace the network with."""
    height, width = size or (steps * network.divisibility - 1 for steps in TRACED_STEPS)
    image = torch.randint(0, 256, (batch, len(network.pixel_mean), height, width), dtype=torch.uint8)
    return image, torch.tensor([[height, width]] * batch)


def find_smallest_side(network: ExportableNetwork) -> int:
    """Return the smallest side of an input of open size of a program, to which smaller images are padded.

    PyTorch takes a side of 1 for a constant; from three steps of the stride on no map of the network has one.
    """
    return 2 * network.divisibility + 1


def export_program(network: ExportableNetwork, inputs: tuple[Tensor, Tensor], is_dynamic: bool) -> ExportedProgram:
    """Return the network as a program of PyTorch, of one size or of any; call it in `exportable_operators`."""
    shapes = None
    if is_dynamic:
        smallest = find_smallest_side(network)
        shapes = ({2: Dim("height", min=smallest, max=MAX_SIDE), 3: Dim("width", min=smallest, max=MAX_SIDE)}, None)
    return torch.export.export(network, inputs, dynamic_shapes=shapes, strict=False)


def open_torch_graph(path: Path, format: str, names: Sequence[str]) -> Callable[..., Mapping[str, np.ndarray]]:
    """Return a graph in a format of PyTorch as a function, as `unified_seg_runtime.Predictor` takes it.

    Args:
        path: the file.
        format: "torch_export" or "torchscript".
        names: of its outputs.
    """
    graph: Any = torch.export.load(path).module() if format == "torch_export" else torch.jit.load(path)

    def run(image: np.ndarray, size: np.ndarray) -> Mapping[str, np.ndarray]:
        with torch.no_grad():
            results = graph(torch.from_numpy(image), torch.from_numpy(size))
        return {name: result.numpy() for name, result in zip(names, results)}

    return run


def _name_open_sides(network: ExportableNetwork, is_dynamic: bool) -> dict[str, dict[int, str]]:
    """Return names for the dimensions of an ONNX graph whose sizes are open."""
    axes = {name: {0: "detections"} for name in network.output_names if name != "logits"}
    if is_dynamic:
        axes |= {"image": {2: "height", 3: "width"}}
        axes |= {"logits": {2: "rows", 3: "columns"}} if "logits" in network.output_names else {}
    return axes


@contextmanager
def _report(format: str) -> Iterator[None]:
    """Raise what PyTorch raises as one line."""
    try:
        yield
    except UnsupportedExportError:
        raise
    except Exception as error:  # exporters raise anything, from their own classes to SyntaxError
        logging.getLogger(__name__).debug("the network can't be exported", exc_info=True)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
        raise ExportError(
            f"--format {format}: PyTorch {torch.__version__} can't export an operation of this network: "
            f"{type(error).__name__}: {lines[0]:.300}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporters print and warn of, such as that ints of a trace are constants, which they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
