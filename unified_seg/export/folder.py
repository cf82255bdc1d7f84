"""The folder of an exported model: graph, description, runtime, an example with its expected picture, checksums."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from PIL import Image

import unified_seg_arrays
import unified_seg_files
import unified_seg_runtime
from unified_seg.export.errors import ExportError
from unified_seg.export.form import GraphForm, check_form, check_model, describe
from unified_seg.export.graphs import open_torch_graph, write_graph
from unified_seg.export.network import ExportableNetwork
from unified_seg.export.precision import convert_graph
from unified_seg.export.predict_program import write_program
from unified_seg.export.verification import Differences, compare
from unified_seg.inference import Predictor
from unified_seg.meta_arch.kept_logits import keep_logits
from unified_seg_files import hash_file, write_text
from unified_seg_runtime import Description, FolderError, draw_prediction
from unified_seg_runtime import Predictor as RuntimePredictor
from unified_seg_runtime.folder import CHECKSUMS, DESCRIPTION

# The packages that predict; a folder holds them, so that it needs no other files.
RUNTIME = (unified_seg_runtime, unified_seg_arrays, unified_seg_files)
EXAMPLE, EXPECTED = "example.png", "expected.png"


def export_model(
    predictor: Predictor,
    cfg: CfgNode,
    output: Path,
    images: Sequence[tuple[str, np.ndarray]],
    form: GraphForm = GraphForm(),  # noqa: B008 (frozen)
) -> list[Differences]:
    """Write the folder of an exported model, after a comparison of its predictions with those of the model.

    Args:
        predictor: of the model, with compact outputs, on the CPU.
        cfg: of the model, resolved.
        output: the folder; it must not exist, or be empty.
        images: names and images, as `predictor` takes them, for the comparison and for the calibration of "int8"; the
            first one is the example in the folder.
        form: of the graph.

    Returns:
        The differences for each image; in float32 they are at most what rounding explains.

    Raises:
        UnsupportedExportError: a model, a format or a size that can't be exported.
        ExportError: PyTorch can't export the network, or the graph predicts something else; nothing is written then.
    """
    model = check_model(predictor.model)
    check_form(model, cfg, form)
    check_output(output)
    network = ExportableNetwork(model)
    with tempfile.TemporaryDirectory(dir=make_parent(output), prefix=f".{output.name}.") as temporary:
        folder = Path(temporary) / "folder"
        folder.mkdir()
        description = describe(model, network, cfg, form)
        graph = folder / description.graph
        write_graph(network, graph, form.format, form.size, form.batch)
        if form.precision != "float32":
            given = [to_runtime(predictor, image) for _, image in images]
            convert_graph(graph, form.precision, description, given)
        write_text(folder / DESCRIPTION, description.to_json())
        write_runtime(folder, description)
        write_checksums(folder)
        runner = None if form.format == "onnx" else open_torch_graph(graph, form.format, description.outputs)
        try:
            exported = RuntimePredictor(folder, runner)
        except FolderError as error:
            raise ExportError(str(error)) from error
        differences = verify(predictor, exported, images, is_exact=form.precision == "float32")
        write_example(folder, predictor, exported, images[0][1])
        write_checksums(folder)
        if output.exists():
            output.rmdir()
        folder.rename(output)
    return differences


def check_output(output: Path) -> None:
    """Raise ExportError for a folder that holds files."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ExportError(f"--output {output}: it exists and is not an empty folder; choose a new one")


def make_parent(output: Path) -> Path:
    """Create the folder of a path, if need be, and return it."""
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    return output.absolute().parent


def verify(
    predictor: Predictor,
    exported: RuntimePredictor,
    images: Sequence[tuple[str, np.ndarray]],
    is_exact: bool,
) -> list[Differences]:
    """Compare predictions; raises ExportError if they must be exact and are not."""
    differences = []
    with keep_logits(predictor.model):
        for name, image in images:
            found = compare(exported(to_runtime(predictor, image)), predictor(image))
            if is_exact:
                found.check(name)
            differences.append(found)
    return differences


def to_runtime(predictor: Predictor, image: np.ndarray) -> np.ndarray:
    """Return an image as `unified_seg_runtime` takes it: colors are RGB, not BGR."""
    return image[:, :, ::-1] if image.ndim == 3 and predictor.reader.format in ("BGR", "RGB") else image


def write_runtime(folder: Path, form: Description) -> None:
    """Copy the packages that predict, and write the program that uses them."""
    for package in RUNTIME:
        source = Path(package.__file__ or "").parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    write_text(folder / "predict.py", write_program(form, EXAMPLE))


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
