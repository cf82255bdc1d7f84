"""The folder of an exported model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from detectron2.config import CfgNode
from nested_heads import EVERYTHING, HEADS, set_head
from tiny_predictors import draw_images, make_panoptic, make_predictor, make_semantic

from unified_seg.export import ExportError, GraphForm, UnsupportedExportError, export_model, folder
from unified_seg.export.verification import compare_segments, match_boxes
from unified_seg_runtime import Predictor, draw_prediction, read_image

ROOT = Path(__file__).parents[2]
# A None in sys.modules makes the import of that module raise ImportError.
WITHOUT_TORCH = """
import runpy, sys
for name in ("torch", "torchvision", "detectron2", "cv2", "yaml", "scipy", "unified_seg"):
    sys.modules[name] = None
runpy.run_module("unified_seg_runtime", run_name="__main__")
"""


def make_named(*sizes: tuple[int, int]) -> list[tuple[str, np.ndarray]]:
    return [(f"image {index}", image) for index, image in enumerate(draw_images(*sizes))]


@pytest.mark.end_to_end
@pytest.mark.parametrize("percentiles", [[], [10.0, 90.0]])
def test_folder_predicts_what_the_model_predicts(
    tiny_config: CfgNode, tmp_path: Path, percentiles: list[float]
) -> None:
    tiny_config.INPUT.STRETCH_PERCENTILES = percentiles
    predictor, cfg = make_predictor(make_panoptic(tiny_config), tmp_path)
    output, images = tmp_path / "exported", make_named((64, 128), (50, 70))
    found = export_model(predictor, cfg, output, images)
    assert max(each.boxes for each in found) < 1e-3 and not any(each.missing for each in found)
    exported, example = Predictor(output), read_image(output / "example.png")
    picture = draw_prediction(example, exported(example), exported.classes)
    assert np.array_equal(picture, read_image(output / "expected.png"))
    assert len((output / "predict.py").read_text().splitlines()) <= 25


@pytest.mark.end_to_end
def test_folder_predicts_without_torch(tiny_config: CfgNode, tmp_path: Path) -> None:
    predictor, cfg = make_predictor(make_panoptic(tiny_config), tmp_path)
    output = tmp_path / "exported"
    export_model(predictor, cfg, output, make_named((64, 128)))
    # With the packages of this checkout, which are compiled.
    command = [sys.executable, "-c", WITHOUT_TORCH, str(output), str(output / "example.png"), "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(read_image(tmp_path / "example_prediction.png"), read_image(output / "expected.png"))


@pytest.mark.end_to_end
@pytest.mark.parametrize("format", ["torch_export", "torchscript"])
def test_folder_of_a_format_of_pytorch_predicts(format: str, tiny_config: CfgNode, tmp_path: Path) -> None:
    # Programs of torch.export pad smaller images.
    tiny_config.INPUT.MIN_SIZE_TEST, tiny_config.INPUT.MAX_SIZE_TEST = 96, 192
    predictor, cfg = make_predictor(make_panoptic(tiny_config), tmp_path)
    output = tmp_path / "exported"
    export_model(predictor, cfg, output, make_named((64, 128)), GraphForm(format))
    done = subprocess.run([sys.executable, str(output / "predict.py")], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(read_image(tmp_path / "example_prediction.png"), read_image(output / "expected.png"))


@pytest.mark.end_to_end
@pytest.mark.parametrize("program", [["predict.py"], ["-m", "unified_seg_runtime", "."]])
def test_a_missing_image_leaves_out_no_other(program: list[str], tiny_config: CfgNode, tmp_path: Path) -> None:
    predictor, cfg = make_predictor(make_panoptic(tiny_config), tmp_path)
    output = tmp_path / "exported"
    export_model(predictor, cfg, output, make_named((64, 128)))
    command = [sys.executable, *program, "missing.png", "example.png"]
    done = subprocess.run(command, cwd=output, capture_output=True, text=True)
    assert done.returncode == 1 and "left out: missing.png" in done.stderr and "Traceback" not in done.stderr
    assert np.array_equal(read_image(output / "example_prediction.png"), read_image(output / "expected.png"))


@pytest.mark.end_to_end
def test_folder_predicts_in_an_environment_of_four_packages(tiny_config: CfgNode, tmp_path: Path) -> None:
    predictor, cfg = make_predictor(make_panoptic(tiny_config), tmp_path)
    output = tmp_path / "exported"
    export_model(predictor, cfg, output, make_named((64, 128)))
    python = str(tmp_path / "venv/bin/python")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "numpy", "numba", "pillow", "onnxruntime"], check=True)
    command = [python, "-m", "unified_seg_runtime", ".", "example.png", "--output", str(tmp_path)]
    subprocess.run(command, cwd=output, check=True, env={"HOME": str(tmp_path)})
    assert np.array_equal(read_image(tmp_path / "example_prediction.png"), read_image(output / "expected.png"))


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", [*HEADS, "everything"])
def test_each_head_predicts_the_same_on_20_images(name: str, tiny_config: CfgNode, tmp_path: Path) -> None:
    with_detector = name == "everything"
    cfg = make_panoptic(tiny_config) if with_detector else make_semantic(tiny_config)
    predictor, cfg = make_predictor(set_head(cfg, EVERYTHING if with_detector else HEADS[name]), tmp_path)
    images = make_named(*((64 + 5 * index, 160 - 4 * index) for index in range(20)))
    assert len(export_model(predictor, cfg, tmp_path / "exported", images)) == 20


@pytest.mark.end_to_end
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_lower_precision_predicts_nearly_the_same(precision: str, tiny_config: CfgNode, tmp_path: Path) -> None:
    predictor, cfg = make_predictor(make_semantic(tiny_config), tmp_path)
    output, images = tmp_path / "exported", make_named((64, 128), (64, 128))
    found = export_model(predictor, cfg, output, images, GraphForm(precision=precision))
    assert all(each.labels < 0.2 for each in found)
    assert Predictor(output).form.precision == precision


def test_graph_that_predicts_something_else_is_not_written(
    tiny_config: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, cfg = make_predictor(make_semantic(tiny_config), tmp_path)

    def write_other_graph(network, *args) -> None:
        network.pixel_mean += 50
        write_graph(network, *args)
        network.pixel_mean -= 50

    write_graph = folder.write_graph
    monkeypatch.setattr(folder, "write_graph", write_other_graph)
    with pytest.raises(ExportError, match=r"image 0: .* labels differ"):
        export_model(predictor, cfg, tmp_path / "exported", make_named((64, 128)), GraphForm("torchscript"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pth"]


def test_what_can_not_be_exported_is_refused(tiny_config: CfgNode, tmp_path: Path) -> None:
    predictor, cfg = make_predictor(make_semantic(tiny_config), tmp_path)
    images = make_named((64, 128))

    def export(**options) -> None:
        export_model(predictor, cfg, tmp_path / "exported", images, GraphForm(**options))

    with pytest.raises(UnsupportedExportError, match=r"--size 100x64: .* multiples of 32, .* use 128x64"):
        export(size=(100, 64))
    with pytest.raises(UnsupportedExportError, match="--format"):
        export(format="caffe2")
    with pytest.raises(UnsupportedExportError, match="--precision int8"):
        export(format="torchscript", precision="int8")
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported/file").touch()
    with pytest.raises(ExportError, match="not an empty folder"):
        export()
    tiny_config.TEST.WINDOW.SIZE = 64
    predictor, cfg = make_predictor(tiny_config, tmp_path)
    with pytest.raises(UnsupportedExportError, match=r"TEST\.WINDOW\.SIZE"):
        export()
    tiny_config.TEST.AUG.ENABLED = True
    predictor, cfg = make_predictor(tiny_config, tmp_path)
    with pytest.raises(UnsupportedExportError, match=r"TEST\.AUG\.ENABLED"):
        export()


def test_boxes_are_matched_nearest_first() -> None:
    boxes = np.array([[0, 0, 4, 4], [0.5, 0, 4, 4], [9, 9, 12, 12]], dtype=np.float32)
    pairs = match_boxes(boxes, np.array([0, 0, 0]), boxes[[1, 2, 0]], np.array([0, 1, 0]))
    assert sorted(pairs) == [(0, 2), (1, 0)]


def test_segments_may_be_numbered_differently() -> None:
    def describe(*classes: int):
        return [{"id": i, "isthing": True, "category_id": each} for i, each in enumerate(classes, 1)]

    ids = np.array([[1, 1, 2, 0]])
    assert compare_segments(ids, describe(5, 5), np.array([[2, 2, 1, 0]]), describe(5, 5)) == 0
    assert compare_segments(ids, describe(5, 5), np.array([[2, 2, 1, 0]]), describe(6, 5)) == 0.25
