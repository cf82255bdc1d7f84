"""What follows the network predicts the same as the library, for each fusion, from the same results of a network."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from tiny_predictors import draw_images, make_panoptic, make_predictor, make_semantic

from unified_seg.export.folder import to_runtime, write_checksums
from unified_seg.export.form import GraphForm, describe
from unified_seg.export.network import ExportableNetwork
from unified_seg.export.verification import compare
from unified_seg.inference import Predictor as LibraryPredictor
from unified_seg_files import write_text
from unified_seg_runtime import Description, FolderError, ImageError, Predictor, draw_prediction
from unified_seg_runtime.folder import DESCRIPTION

SIZES = ((64, 128), (75, 50), (120, 31))


def in_torch(network: ExportableNetwork):
    """Return the network in PyTorch as the runtime takes a graph."""

    def run(image: np.ndarray, size: np.ndarray) -> Mapping[str, np.ndarray]:
        with torch.no_grad():
            results = network(torch.from_numpy(image), torch.from_numpy(size))
        return {name: result.numpy() for name, result in zip(network.output_names, results)}

    return run


def make_both(cfg: CfgNode, folder: Path, size: tuple[int, int] | None = None, batch: int = 1):
    """Return the predictor of the library and that of the runtime, with the network in PyTorch."""
    library, cfg = make_predictor(cfg, folder)
    library.model.keeps_logits = True  # type: ignore[assignment]
    network = ExportableNetwork(library.model)  # type: ignore[arg-type]
    form = describe(library.model, network, cfg, GraphForm("onnx", size, batch))  # type: ignore[arg-type]
    exported = folder / "exported"
    write_text(exported / form.graph, "a graph")
    write_text(exported / DESCRIPTION, form.to_json())
    write_checksums(exported)
    return library, Predictor(exported, in_torch(network))


def assert_same(library: LibraryPredictor, runtime: Predictor, *sizes: tuple[int, int]) -> None:
    for image in draw_images(*sizes):
        outputs = library(image)
        prediction = runtime(to_runtime(library, image))
        found = compare(prediction, outputs)
        assert found.labels == found.missing == found.segments == 0, found
        assert max(found.boxes, found.scores) < 1e-4 and found.masks < 0.01, found
        if prediction.labels is not None:
            assert np.array_equal(prediction.labels, outputs["sem_seg_labels"].numpy())
        if prediction.instances is not None:
            expected = outputs["instances"]
            assert np.array_equal(prediction.instances.classes, expected.pred_classes.numpy())
            assert np.allclose(prediction.instances.boxes, expected.pred_boxes.tensor.numpy(), atol=1e-3)
            assert len(prediction.instances.boxes) > 3
        if prediction.panoptic_ids is not None:
            ids, infos = outputs["panoptic_seg"]
            assert np.array_equal(prediction.panoptic_ids, ids.numpy())
            keys = ("id", "category_id", "isthing", "area", "instance_id")
            assert [[info.get(key) for key in keys] for info in prediction.segments_info or []] == [
                [info.get(key) for key in keys] for info in infos
            ]


@pytest.mark.parametrize("fusion", ["ScoreOrderFusion", "SemanticGuidedFusion", "EvidenceFusion"])
def test_each_fusion_predicts_as_in_the_library(fusion: str, tiny_config: CfgNode, tmp_path: Path) -> None:
    assert_same(*make_both(make_panoptic(tiny_config, fusion), tmp_path), *SIZES)


def test_semantic_model_predicts_as_in_the_library(tiny_config: CfgNode, tmp_path: Path) -> None:
    tiny_config.INPUT.MIN_SIZE_TEST, tiny_config.INPUT.FORMAT = 40, "RGB"
    assert_same(*make_both(make_semantic(tiny_config), tmp_path), *SIZES)


def test_boxes_alone_predict_as_in_the_library(tiny_config: CfgNode, tmp_path: Path) -> None:
    cfg = make_panoptic(tiny_config, "")
    cfg.MODEL.SEM_SEG_HEAD.NAME, cfg.MODEL.MASK_ON = "", False
    library, runtime = make_both(cfg, tmp_path)
    assert_same(library, runtime, *SIZES)
    (image,) = draw_images(SIZES[0])
    picture = draw_prediction(image, runtime(image), runtime.classes, min_score=0.0)
    assert picture.shape == image.shape and (picture == 255).all(axis=2).any()


def test_batch_of_several_sizes_predicts_as_in_the_library(tiny_config: CfgNode, tmp_path: Path) -> None:
    tiny_config.INPUT.MIN_SIZE_TEST = 0
    library, runtime = make_both(make_panoptic(tiny_config), tmp_path, batch=3)
    images = draw_images(*SIZES[:2])
    predictions = runtime.predict_batch([to_runtime(library, image) for image in images])
    for prediction, outputs in zip(predictions, library.predict_batch(images), strict=True):
        assert np.array_equal(prediction.panoptic_ids, outputs["panoptic_seg"][0].numpy())
    with pytest.raises(ImageError, match="1 to 3 images"):
        runtime.predict_batch(images * 2)


def test_fixed_size_takes_smaller_images_of_any_shape(tiny_config: CfgNode, tmp_path: Path) -> None:
    tiny_config.INPUT.MIN_SIZE_TEST = 0
    library, runtime = make_both(make_panoptic(tiny_config), tmp_path, size=(64, 128))
    assert_same(library, runtime, (64, 128))
    for image in draw_images((20, 30), (200, 100)):
        prediction = runtime(image)
        assert prediction.labels is not None and prediction.labels.shape == image.shape[:2]
        assert draw_prediction(image, prediction, runtime.classes).shape == image.shape


def test_other_channels_are_an_error(tiny_config: CfgNode, tmp_path: Path) -> None:
    _, runtime = make_both(make_semantic(tiny_config), tmp_path)
    with pytest.raises(ImageError, match=r"3 channels \(BGR\)"):
        runtime(np.zeros((8, 8, 4), dtype=np.uint8))
    with pytest.raises(ImageError, match="uint8"):
        runtime(np.zeros((8, 8, 3)))
    assert runtime(np.zeros((8, 8), dtype=np.uint8)).labels is not None  # gray


def test_changed_folder_is_an_error(tiny_config: CfgNode, tmp_path: Path) -> None:
    make_both(make_semantic(tiny_config), tmp_path)
    folder = tmp_path / "exported"
    text = (folder / DESCRIPTION).read_text()
    description = json.loads(text)

    def open_changed(content: str, checksums: bool) -> None:
        (folder / DESCRIPTION).write_text(content)
        if checksums:
            write_checksums(folder)
        Predictor(folder, dict)

    cases = {
        "checksum": (text.replace("BGR", "RGB"), False),
        "another version": (json.dumps({**description, "more": 1}), True),
        "graph": (json.dumps({**description, "graph": "../network.onnx"}), True),
        "stride": (json.dumps({**description, "stride": "4"}), True),
        "classes": (json.dumps({**description, "classes": [{"name": "a"}]}), True),
        "not JSON": ("{", True),
    }
    for message, case in cases.items():
        with pytest.raises(FolderError, match=message):
            open_changed(*case)
    (folder / description["graph"]).unlink()
    with pytest.raises(FolderError, match=r"network\.onnx: No such file"):
        Predictor(folder, dict)
    with pytest.raises(FolderError, match="is this the folder"):
        Predictor(tmp_path)


def test_graph_of_pytorch_needs_a_network(tiny_config: CfgNode, tmp_path: Path) -> None:
    make_both(make_semantic(tiny_config), tmp_path)
    folder = tmp_path / "exported"
    with pytest.raises(FolderError, match="onnxruntime can't run it"):
        Predictor(folder)
    values = json.loads((folder / DESCRIPTION).read_text()) | {"format": "torchscript", "size": None}
    write_text(folder / DESCRIPTION, Description(**values).to_json())
    write_checksums(folder)
    with pytest.raises(FolderError, match="needs PyTorch"):
        Predictor(folder)
