"""The model of every project's Toyscapes config on a pretended device: the same losses, gradients and outputs."""

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from benchmarks.pretend_device import DEVICE, PretendDevice, PretendTensor, move_module
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from example_heads import import_example_heads
from same_outputs import assert_same
from tiny_model import TINY, to_overrides
from torch import Tensor

from unified_seg.config import load_config
from unified_seg.data.pipeline.instances import make_instances
from unified_seg.data.resolve import resolve_config, resolve_stages
from unified_seg.evaluation import build_evaluators
from unified_seg.inference import Predictor, add_test_augmentation
from unified_seg.meta_arch import UnifiedSegmentor, build_model
from unified_seg.meta_arch.unified_segmentor import WITHOUT_DETECTOR
from unified_seg.visualization import draw_panels

import_example_heads()

ROOT = Path(__file__).parents[2]
CONFIGS = sorted({*ROOT.glob("configs/toyscapes/*.yaml"), *ROOT.glob("projects/*/configs/toyscapes*.yaml")})
UNIFIED = ROOT / "projects/fusion_scheme/configs/toyscapes_unified.yaml"
SMALL = (
    *(*to_overrides(TINY), "MODEL.WEIGHTS", ""),
    # The scores of a model without training are low.
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.05),
)


def read(path: Path, tiny_dataset: Any, *overrides: object) -> CfgNode:
    """Return the resolved config of the last stage, of a small model and a small data set."""
    datasets = ("DATASETS.TRAIN", f"('{tiny_dataset.train}',)", "DATASETS.TEST", f"('{tiny_dataset.val}',)")
    cfg = load_config(path, [str(word) for word in (*SMALL, *datasets, *overrides)])
    return [stage.config for stage in resolve_stages(cfg)][-1] if cfg.SOLVER.STAGES else resolve_config(cfg)


def build_pair(cfg: CfgNode) -> tuple[UnifiedSegmentor, UnifiedSegmentor]:
    """Return a model on the CPU and its copy on the device."""
    torch.manual_seed(0)
    model = build_model(cfg)
    return model, move_module(copy.deepcopy(model))


def make_batch() -> list[dict[str, Any]]:
    """Return an image of two cars and a person, and a smaller image without objects."""
    pixels = torch.randint(0, 256, (3, 64, 128), generator=torch.Generator().manual_seed(0)).byte()
    labels = torch.full((64, 128), 10)
    labels[30:] = 0
    masks = []
    for thing, (top, left, height, width) in ((13, (28, 5, 20, 34)), (13, (32, 50, 16, 30)), (11, (20, 100, 30, 12))):
        labels[top : top + height, left : left + width] = thing
        masks.append((top, left, np.ones((height, width), dtype=bool)))
    labels[60:] = 255
    first = {"image": pixels, "sem_seg": labels, "instances": make_instances(masks, [2, 2, 0], (64, 128))}
    second = {
        "image": pixels[:, :50, :100],
        "sem_seg": labels[:50, :100],
        "instances": make_instances([], [], (50, 100)),
    }
    return [first | {"height": 70, "width": 90}, second | {"height": 50, "width": 100}]


def make_semantic_batch() -> list[dict[str, Any]]:
    """Return the left parts of the images, without instances."""
    return [{"image": x["image"][..., :64], "sem_seg": x["sem_seg"][:, :64]} for x in make_batch()]


def compute_losses(model: UnifiedSegmentor, batch: list[dict[str, Any]]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return losses and gradients of a training step."""
    torch.manual_seed(0)  # the samples of the detector
    losses = model.train()(batch)
    sum(losses.values()).backward()
    return losses, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_training_and_inference_are_those_of_the_cpu(path: Path, tiny_dataset: Any, tested: set[str]) -> None:
    # The detector is the same in all configs: one has it, the others only what differs.
    whole = path == UNIFIED
    cfg = read(path, tiny_dataset, *(() if whole else WITHOUT_DETECTOR), "MODEL.UNIFIED.OUTPUT", "compact")
    if str(cfg.MODEL) in tested:
        return  # a config that differs from an earlier one in its training alone
    tested.add(str(cfg.MODEL))
    model, moved = build_pair(cfg)
    batch = make_batch() if whole else make_semantic_batch()
    with PretendDevice() as device:
        actual = compute_losses(moved, batch)
        assert not device.counts.synchronizations(own=True), device.counts
        assert_same(actual, compute_losses(model, batch), "losses and gradients")
        model.eval(), moved.eval()
        for model.output_format in ("detectron2", "compact") if whole else ("compact",):
            moved.output_format = model.output_format
            with torch.no_grad():
                assert_same(moved(batch), model(batch), model.output_format)


@pytest.fixture(scope="module")
def tested() -> set[str]:
    """The models that were tested."""
    return set()


@pytest.mark.parametrize("name", ["fusion_scheme", "error_correction", "specialize_and_fuse"])
def test_evaluators_read_outputs_of_a_device(name: str, tiny_dataset: Any, tmp_path: Path) -> None:
    whole = name == "fusion_scheme"
    path = ROOT / "projects" / name / "configs/toyscapes_unified.yaml"
    cfg = read(path, tiny_dataset, *(() if whole else WITHOUT_DETECTOR), "MODEL.UNIFIED.OUTPUT", "compact")
    records = DatasetCatalog.get(tiny_dataset.val)
    results = []
    with PretendDevice(), torch.no_grad():
        for number, model in enumerate(build_pair(cfg)):
            evaluators = build_evaluators(cfg, tiny_dataset.val, tmp_path / str(number))
            evaluators.reset()
            for record in records:
                image = torch.from_numpy(cv2.imread(record["file_name"]).transpose(2, 0, 1).copy())
                evaluators.process([record], model.eval()([record | {"image": image}]))
            results.append(evaluators.evaluate())
    assert results[0].keys() >= ({"sem_seg", "segm", "panoptic_seg"} if whole else {"sem_seg"})
    assert_same(results[1], results[0], "results")


def test_augmentation_and_windows_are_those_of_the_cpu(tiny_dataset: Any) -> None:
    options = ("TEST.AUG.ENABLED", True, "TEST.AUG.MIN_SIZES", "(48,)", "TEST.AUG.FLIP", True)
    augmented = read(UNIFIED, tiny_dataset, *options)
    windowed = read(UNIFIED, tiny_dataset, *WITHOUT_DETECTOR, "TEST.WINDOW.SIZE", 64)
    with PretendDevice(), torch.no_grad():
        for cfg in (augmented, windowed):
            model, moved = (add_test_augmentation(cfg, each.eval())[1] for each in build_pair(cfg))
            assert_same(moved(make_batch()[:1]), model(make_batch()[:1]))


def test_predictor_and_panels_take_outputs_of_a_device(tiny_dataset: Any, tmp_path: Path) -> None:
    cfg = read(UNIFIED, tiny_dataset, "MODEL.UNIFIED.OUTPUT", "compact")
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, tmp_path / "model.pth")
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    predictor = Predictor(cfg)
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    expected = predictor(image)
    move_module(predictor.model)
    with PretendDevice():
        outputs = predictor(image)
        assert isinstance(outputs["sem_seg_labels"], PretendTensor)
        assert_same(outputs, expected)
        pictures = [draw_panels(predictor.to_picture(image), each, predictor.metadata) for each in (outputs, expected)]
    assert np.array_equal(*pictures)


def test_mistakes_on_a_device_are_errors() -> None:
    with PretendDevice() as device:
        values = torch.arange(3).to(DEVICE)
        assert values.device == DEVICE and device.counts.synchronizations() == 1
        for mistake in (lambda: values + torch.arange(3), lambda: values.numpy(), lambda: torch.arange(3)[values]):
            with pytest.raises((RuntimeError, TypeError)):
                mistake()
        before = device.counts.synchronizations()
        values[values > 0], values.nonzero(), values.sum().item(), values.tolist(), torch.unique(values)
        assert device.counts.synchronizations() == before + 5
        values[values > 0] = 2  # fills under a mask, without waiting
        values[torch.tensor([0]).to(DEVICE, non_blocking=True)] = 3
        assert device.counts.synchronizations() == before + 5
        assert values.cpu().tolist() == [3, 2, 2]
