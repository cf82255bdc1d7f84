"""Graphs of networks in each format, against the networks in PyTorch."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from nested_heads import EVERYTHING, HEADS
from torch import nn
from torch._dynamo.testing import CompileCounter

from unified_seg.export import ExportError, UnsupportedExportError
from unified_seg.export.detector import ExportableDetector
from unified_seg.export.graphs import SUFFIXES, export_program, make_inputs, open_torch_graph, write_graph
from unified_seg.export.network import ExportableNetwork
from unified_seg.export.operators import exportable_operators
from unified_seg_runtime.predictor import open_onnx

# Not those that the graphs were traced with; the second needs no padding.
SIZES = ((70, 150), (96, 128), (201, 66))


def write_and_open(
    network: ExportableNetwork, folder: Path, format: str, size: tuple[int, int] | None = None, batch: int = 1
) -> Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]:
    path = folder / f"network{SUFFIXES[format]}"
    write_graph(network, path, format, size, batch)
    return open_onnx(path, format) if format == "onnx" else open_torch_graph(path, format, network.output_names)


def assert_equal(network: ExportableNetwork, run: Callable[..., Mapping[str, np.ndarray]], *sizes, batch: int = 1):
    for height, width in sizes:
        torch.manual_seed(height)
        image = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
        # The second image of a batch is smaller.
        size = torch.tensor([[height, width], [height - 9, width - 20]][:batch])
        with torch.no_grad():
            expected = network(image, size)
        found = run(image.numpy(), size.numpy())
        for name, values in zip(network.output_names, expected, strict=True):
            np.testing.assert_allclose(found[name], values.numpy(), rtol=1e-3, atol=1e-3, err_msg=name)


def mark_others(names: Iterable[str], *chosen: str) -> list[Any]:
    """Return parameters of which only the chosen ones are in the unit suite: an export takes seconds."""
    return [name if name in chosen else pytest.param(name, marks=pytest.mark.end_to_end) for name in names]


@pytest.mark.parametrize("name", mark_others(HEADS, "PyramidalOutputHead", "PSPHead"))
def test_each_semantic_head_in_onnx(name: str, make_network, tmp_path: Path) -> None:
    network = make_network(*HEADS[name])
    assert_equal(network, write_and_open(network, tmp_path, "onnx"), *SIZES)


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", HEADS)
def test_each_semantic_head_in_torchscript(name: str, make_network, tmp_path: Path) -> None:
    network = make_network(*HEADS[name])
    assert_equal(network, write_and_open(network, tmp_path, "torchscript"), *SIZES)


@pytest.mark.end_to_end
def test_semantic_head_as_a_program(make_network, tmp_path: Path) -> None:
    # The head with the most operators; each one takes half a minute.
    network = make_network(*HEADS["PyramidalOutputHead"])
    assert_equal(network, write_and_open(network, tmp_path, "torch_export"), *SIZES)


@pytest.mark.end_to_end
def test_adaptive_pooling_is_no_program_of_open_size(make_network, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Constraints violated"):
        write_and_open(make_network(*HEADS["PSPHead"]), tmp_path, "torch_export")


@pytest.mark.parametrize("format", mark_others(SUFFIXES, "onnx"))
def test_everything_with_a_detector(format: str, make_network, tmp_path: Path) -> None:
    network = make_network(*EVERYTHING, detector=True)
    assert network.output_names == ["logits", "boxes", "scores", "classes", "image_index", "masks"]
    assert_equal(network, write_and_open(network, tmp_path, format), *SIZES)
    if format == "onnx":
        model = onnx.load(tmp_path / "network.onnx")
        onnx.checker.check_model(model)
        assert {node.domain for node in model.graph.node} == {""}  # operators of ONNX alone
        assert {"NonMaxSuppression", "RoiAlign"} <= {node.op_type for node in model.graph.node}


@pytest.mark.end_to_end
@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_batch_of_a_fixed_size(format: str, make_network, tmp_path: Path) -> None:
    network = make_network("PyramidalOutputHead", detector=True)
    assert_equal(network, write_and_open(network, tmp_path, format, (64, 96), 2), (64, 96), batch=2)


@pytest.mark.end_to_end
def test_program_is_compiled_once_for_all_sizes(make_network) -> None:
    network = make_network("SemSegFPNHead")
    with exportable_operators():
        program = export_program(network, make_inputs(network, None, 1), is_dynamic=True).module()
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(program, backend=counter, dynamic=True)
    with torch.no_grad():
        # PyTorch chooses the algorithm of a convolution by the size of its map: these have the same in all layers.
        for height, width in ((310, 320), (300, 390), (410, 350)):
            image = torch.zeros(1, 3, height, width, dtype=torch.uint8)
            compiled(image, torch.tensor([[height, width]]))
    assert counter.frame_count == 1


def test_operation_that_can_not_be_exported_is_one_line(make_network, tmp_path: Path) -> None:
    network = make_network("SemSegFPNHead")

    class Unsupported(nn.Module):
        def forward(self, x):
            return {"p2": torch.from_numpy(x.numpy())}

    network.backbone = Unsupported()
    with pytest.raises(ExportError, match=r"--format torch_export: PyTorch .* can't export") as error:
        write_graph(network, tmp_path / "network.pt2", "torch_export", None, 1)
    assert "\n" not in str(error.value)


def test_other_detectors_are_refused(make_network) -> None:
    detector = make_network("SemSegFPNHead", detector=True).detector

    class OwnHeads(type(detector.roi_heads)):  # type: ignore[misc]
        pass

    detector.roi_heads.__class__ = OwnHeads
    with pytest.raises(UnsupportedExportError, match=r"MODEL\.ROI_HEADS\.NAME: OwnHeads"):
        ExportableDetector(detector.rpn, detector.roi_heads)
