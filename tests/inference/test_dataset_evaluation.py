"""Evaluation with several images at a time, against Detectron2's loop."""

import pytest
import torch
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset

from unified_seg.data.pipeline.loaders import build_test_loader
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation import build_evaluators
from unified_seg.inference.dataset_evaluation import evaluate_on_dataset
from unified_seg.meta_arch import build_model


@pytest.fixture
def parts(tiny_config):
    tiny_config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    tiny_config.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.0
    cfg = resolve_config(tiny_config)
    torch.manual_seed(0)
    return cfg, build_model(cfg), build_test_loader(cfg, cfg.DATASETS.TEST[0])


class Order(DatasetEvaluator):
    """Notes the images in the order in which they come, and whether the model is in inference mode."""

    def __init__(self, model):
        self.model, self.seen = model, ["not reset"]

    def reset(self):
        self.seen = []

    def process(self, inputs, outputs):
        assert not self.model.training and not torch.is_grad_enabled()
        self.seen += [x["image_id"] for x in inputs]

    def evaluate(self):
        return None


@pytest.mark.parametrize("at_once", [1, 3])
def test_scores_are_those_of_detectron2(parts, tmp_path, at_once):
    cfg, model, loader = parts
    (name,) = cfg.DATASETS.TEST
    expected = inference_on_dataset(model, loader, build_evaluators(cfg, name, str(tmp_path / "peer")))
    scores = evaluate_on_dataset(model, loader, build_evaluators(cfg, name, str(tmp_path / "own")), at_once=at_once)
    assert repr(scores) == repr(expected) and scores["sem_seg"]


def test_batches_come_in_order_and_the_mode_is_restored(parts):
    _, model, loader = parts
    expected = [x["image_id"] for batch in loader for x in batch]
    order = Order(model.train())
    assert evaluate_on_dataset(model, loader, order, at_once=2) == {}
    assert order.seen == expected and model.training


def test_threads_of_pytorch_are_shared_by_the_images_and_restored(parts, monkeypatch):
    _, model, loader = parts
    torch.set_num_threads(4)
    seen = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda x: seen.append(torch.get_num_threads()) or forward(x))
    evaluate_on_dataset(model, loader, Order(model), at_once=2)
    assert set(seen) == {2} and torch.get_num_threads() == 4


@pytest.mark.parametrize("part", ["model", "evaluator"])
def test_an_error_ends_the_evaluation(parts, part, monkeypatch):
    _, model, loader = parts
    order = Order(model)

    def fail(*_):
        raise ValueError("no memory")

    monkeypatch.setattr(*((model, "forward") if part == "model" else (order, "process")), fail)
    with pytest.raises(ValueError, match="no memory"):
        evaluate_on_dataset(model, loader, order)
