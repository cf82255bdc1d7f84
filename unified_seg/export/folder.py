"""The folder of an exported model: graph, description, runtime, an example with its expected picture, checksums."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from PIL import Image

import unified_seg_arrays
import unified_seg_files
import unified_seg_runtime
from unified_seg.export.errors import ExportError, UnsupportedExportError
from unified_seg.export.graphs import SUFFIXES, find_smallest_side, open_torch_graph, write_graph
from unified_seg.export.network import ExportableNetwork
from unified_seg.export.precision import PRECISIONS, convert_graph
from unified_seg.export.verification import Differences, compare
from unified_seg.fusion import EvidenceFusion, PanopticFusion, ScoreOrderFusion, SemanticGuidedFusion
from unified_seg.inference import Predictor
from unified_seg.meta_arch import UnifiedSegmentor
from unified_seg_files import hash_file, write_text
from unified_seg_runtime import Description, draw_prediction
from unified_seg_runtime import Predictor as RuntimePredictor
from unified_seg_runtime.folder import CHECKSUMS, DESCRIPTION

# The packages that predict; a folder holds them, so that it needs no other files.
RUNTIME = (unified_seg_runtime, unified_seg_arrays, unified_seg_files)
# Values of INPUT.FORMAT that the runtime makes of pictures, or takes as they are.
CHANNELS = ("BGR", "RGB", "L", "RGBA", "BANDS")
EXAMPLE, EXPECTED = "example.png", "expected.png"
PREDICT = '''"""Predict images with the model of this folder: python predict.py photo.jpg ...; needs {packages}."""

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from PIL import Image  # noqa: E402

from unified_seg_runtime import Predictor, draw_prediction, read_image  # noqa: E402

{network}
for name in sys.argv[1:] or [FOLDER / "{example}"]:
    image = read_image(name)
    prediction = predictor(image)
    for segment in prediction.segments_info or []:
        found = predictor.classes.find_class(segment["category_id"], segment["isthing"])
        print(found.name, segment["area"], "pixels", segment.get("score", ""))
    Image.fromarray(draw_prediction(image, prediction, predictor.classes)).save(Path(name).stem + "_prediction.png")
'''
RUN_TORCH = """import torch
import torchvision  # for its operators

graph = {load}


def run(image, size):
    with torch.no_grad():
        results = graph(torch.from_numpy(image), torch.from_numpy(size))
    return {{name: result.numpy() for name, result in zip({outputs}, results)}}


predictor = Predictor(FOLDER, run)"""
LOAD = {
    "torch_export": 'torch.export.load(FOLDER / "{graph}").module()',
    "torchscript": 'torch.jit.load(FOLDER / "{graph}")',
}


def export_model(
    predictor: Predictor,
    cfg: CfgNode,
    output: Path,
    *,
    format: str = "onnx",
    size: tuple[int, int] | None = None,
    batch: int = 1,
    precision: str = "float32",
    images: Sequence[tuple[str, np.ndarray]],
) -> list[Differences]:
    """Write the folder of an exported model, after a comparison of its predictions with those of the model.

    Args:
        predictor: of the model, with compact outputs, on the CPU.
        cfg: of the model, resolved.
        output: the folder; it must not exist, or be empty.
        format: "onnx", "torch_export" or "torchscript".
        size: height and width of the input of the graph, multiples of the model's stride; None: open.
        batch: images of an input.
        precision: "float32", or with ONNX "float16" or "int8".
        images: names and images, as `predictor` takes them, for the comparison and for the calibration of "int8"; the
            first one is the example in the folder.

    Returns:
        The differences for each image; in float32 they are at most what rounding explains.

    Raises:
        UnsupportedExportError: a model, a format or a size that can't be exported.
        ExportError: PyTorch can't export the network, or the graph predicts something else; nothing is written then.
    """
    model = predictor.model
    check_model(model)
    assert isinstance(model, UnifiedSegmentor)
    check_form(model, cfg.INPUT.FORMAT, format, size, precision)
    check_output(output)
    network = ExportableNetwork(model)
    with tempfile.TemporaryDirectory(dir=make_parent(output), prefix=f".{output.name}.") as temporary:
        folder = Path(temporary) / "folder"
        folder.mkdir()
        form = describe(model, network, cfg, format, size, batch, precision)
        write_graph(network, folder / form.graph, format, size, batch)
        if precision != "float32":
            convert_graph(folder / form.graph, precision, form, [to_runtime(predictor, image) for _, image in images])
        write_text(folder / DESCRIPTION, form.to_json())
        write_runtime(folder, form)
        write_checksums(folder)
        runner = None if format == "onnx" else open_torch_graph(folder / form.graph, format, form.outputs)
        exported = RuntimePredictor(folder, runner)
        differences = verify(predictor, exported, images, is_exact=precision == "float32")
        write_example(folder, predictor, exported, images[0][1])
        write_checksums(folder)
        if output.exists():
            output.rmdir()
        folder.rename(output)
    return differences


def check_model(model: Any) -> None:
    """Raise UnsupportedExportError for another model than one whose predictions come from one pass of a network."""
    if not isinstance(model, UnifiedSegmentor):
        raise UnsupportedExportError(
            f"{type(model).__name__} can't be exported, only UnifiedSegmentor; set TEST.AUG.ENABLED to False"
        )
    if model.windows is not None:
        raise UnsupportedExportError("TEST.WINDOW.SIZE: sliding windows can't be exported; set it to 0")
    if model.panoptic_fusion is not None and type(model.panoptic_fusion) not in FUSION_OPTIONS:
        raise UnsupportedExportError(
            f"MODEL.PANOPTIC_FUSION.NAME: {type(model.panoptic_fusion).__name__} is not in unified_seg_runtime"
        )


def check_form(
    model: UnifiedSegmentor, channels: str, format: str, size: tuple[int, int] | None, precision: str
) -> None:
    """Raise UnsupportedExportError for a form of the input, a format or a precision that can't be exported."""
    if format not in SUFFIXES:
        raise UnsupportedExportError(f"--format: unknown format {format!r}; known: {', '.join(SUFFIXES)}")
    stride = model.size_divisibility
    if size is not None and any(side % stride for side in size):
        nearest = "x".join(str(max(-(-side // stride), 1) * stride) for side in size)
        raise UnsupportedExportError(
            f"--size {size[0]}x{size[1]}: both sides must be multiples of {stride}, the stride of the network; use "
            f"{nearest}"
        )
    if channels not in CHANNELS:
        raise UnsupportedExportError(f"INPUT.FORMAT {channels} can't be exported, only {', '.join(CHANNELS)}")
    if precision not in PRECISIONS:
        raise UnsupportedExportError(f"--precision: unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if precision != "float32" and format != "onnx":
        raise UnsupportedExportError(f"--precision {precision}: only --format onnx has it, got {format}")


def check_output(output: Path) -> None:
    """Raise ExportError for a folder that holds files."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ExportError(f"--output {output}: it exists and is not an empty folder; choose a new one")


def make_parent(output: Path) -> Path:
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    return output.absolute().parent


def _get_score_options(fusion: Any) -> dict[str, Any]:
    return {name: getattr(fusion, name) for name in ("score_threshold", "overlap_threshold", "stuff_area_limit")}


def _get_guided_options(fusion: Any) -> dict[str, Any]:
    return asdict(fusion.options)


FUSION_OPTIONS = {
    ScoreOrderFusion: _get_score_options,
    SemanticGuidedFusion: _get_guided_options,
    EvidenceFusion: _get_guided_options,
}


def describe(
    model: UnifiedSegmentor,
    network: ExportableNetwork,
    cfg: CfgNode,
    format: str,
    size: tuple[int, int] | None,
    batch: int,
    precision: str,
) -> Description:
    """Return what the graph of a model needs and predicts."""
    fusion: PanopticFusion | None = model.panoptic_fusion
    return Description(
        format=format,
        graph=f"network{SUFFIXES[format]}",
        precision=precision,
        channels=cfg.INPUT.FORMAT,
        num_channels=len(cfg.MODEL.PIXEL_MEAN),
        min_size=cfg.INPUT.MIN_SIZE_TEST,
        max_size=cfg.INPUT.MAX_SIZE_TEST,
        size=size,
        smallest=find_smallest_side(network) if format == "torch_export" else 1,
        batch=batch,
        outputs=list(network.output_names),
        stride=model.sem_seg_head.common_stride if model.sem_seg_head is not None else 0,
        classes=[asdict(each) for each in model.class_table.classes],
        ignore_label=model.class_table.ignore_label,
        fusion=type(fusion).__name__ if fusion is not None else "",
        fusion_options=FUSION_OPTIONS[type(fusion)](fusion) if fusion is not None else {},
    )


def verify(
    predictor: Predictor,
    exported: RuntimePredictor,
    images: Sequence[tuple[str, np.ndarray]],
    is_exact: bool,
) -> list[Differences]:
    """Compare predictions; raises ExportError if they must be exact and are not."""
    differences = []
    model = predictor.model
    model.keeps_logits = True  # type: ignore[assignment]
    try:
        for name, image in images:
            found = compare(exported(to_runtime(predictor, image)), predictor(image))
            if is_exact:
                found.check(name)
            differences.append(found)
    finally:
        model.keeps_logits = False  # type: ignore[assignment]
    return differences


def to_runtime(predictor: Predictor, image: np.ndarray) -> np.ndarray:
    """Return an image as `unified_seg_runtime` takes it: colors are RGB, not BGR."""
    return image[:, :, ::-1] if image.ndim == 3 and predictor.reader.format in ("BGR", "RGB") else image


def write_runtime(folder: Path, form: Description) -> None:
    """Copy the packages that predict, and write the program that uses them."""
    for package in RUNTIME:
        source = Path(package.__file__ or "").parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    packages = "numpy, numba, Pillow and " + ("onnxruntime" if form.format == "onnx" else "torch")
    network = "predictor = Predictor(FOLDER)"
    if form.format in LOAD:
        network = RUN_TORCH.format(load=LOAD[form.format].format(graph=form.graph), outputs=form.outputs)
    write_text(folder / "predict.py", PREDICT.format(packages=packages, network=network, example=EXAMPLE))


def write_example(folder: Path, predictor: Predictor, exported: RuntimePredictor, image: np.ndarray) -> None:
    """Write an image, and the picture that its prediction must give."""
    picture = predictor.to_picture(image)
    Image.fromarray(picture).save(folder / EXAMPLE)
    prediction = exported(to_runtime(predictor, image))
    Image.fromarray(draw_prediction(picture, prediction, exported.classes)).save(folder / EXPECTED)


def write_checksums(folder: Path) -> None:
    """Write the SHA-256 of each file of the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    digests = {path.relative_to(folder).as_posix(): hash_file(path) for path in files}
    write_text(folder / CHECKSUMS, json.dumps(digests, indent=1) + "\n")
