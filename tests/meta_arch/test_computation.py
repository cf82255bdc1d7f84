from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.layers import ROIAlign

from unified_seg.config import ConfigError
from unified_seg.data.pipeline.mapper import UnifiedMapper
from unified_seg.inference import add_test_augmentation
from unified_seg.meta_arch import build_model, computation
from unified_seg.meta_arch.computation import choose_memory_format, has_bfloat16, uses_bfloat16


def batch_of(cfg: CfgNode, is_train: bool) -> list[dict[str, Any]]:
    records = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[:2]
    np.random.seed(0)
    return [UnifiedMapper(cfg, is_train)(record) for record in records]


def build(cfg: CfgNode, **keys: str) -> torch.nn.Module:
    cfg = cfg.clone()
    cfg.MODEL.UNIFIED.update(keys)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    torch.manual_seed(0)
    return build_model(cfg)


def losses_of(model: torch.nn.Module, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return model.train()(batch)


def test_memory_formats_by_name(tiny_config: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_memory_format(tiny_config) is torch.contiguous_format
    monkeypatch.setattr(computation, "has_bfloat16", lambda: True)
    assert choose_memory_format(tiny_config) is torch.channels_last
    tiny_config.MODEL.DEVICE = "cuda"
    assert choose_memory_format(tiny_config) is torch.contiguous_format
    tiny_config.MODEL.UNIFIED.MEMORY_FORMAT = "channels_last"
    assert choose_memory_format(tiny_config) is torch.channels_last
    tiny_config.MODEL.UNIFIED.MEMORY_FORMAT = "channels_first"
    with pytest.raises(ConfigError, match=r"MODEL\.UNIFIED\.MEMORY_FORMAT .*'channels_first'"):
        choose_memory_format(tiny_config)


def test_bfloat16_is_used_on_cpus_that_have_it(tiny_config: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    for available in (True, False):
        monkeypatch.setattr(computation, "has_bfloat16", lambda available=available: available)
        assert uses_bfloat16(tiny_config) is available
    tiny_config.MODEL.UNIFIED.CPU_PRECISION = "bfloat16"
    assert uses_bfloat16(tiny_config)
    tiny_config.MODEL.DEVICE = "cuda"
    assert not uses_bfloat16(tiny_config)
    tiny_config.MODEL.UNIFIED.CPU_PRECISION = "float16"
    with pytest.raises(ConfigError, match=r"MODEL\.UNIFIED\.CPU_PRECISION .*'float16'"):
        uses_bfloat16(tiny_config)


@pytest.mark.parametrize(("capability", "expected"), [("avx512_bf16", True), ("amx_bf16", True), ("avx512_f", False)])
def test_capabilities_of_the_cpu(capability: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {capability: True, "architecture": "x86_64"}, raising=False
    )
    assert has_bfloat16() is expected


def test_memory_formats_have_equal_results(tiny_config: CfgNode) -> None:
    models = [build(tiny_config, MEMORY_FORMAT=name) for name in ("contiguous", "channels_last")]
    weights = [model.backbone.bottom_up.stem.conv1.weight for model in models]
    assert torch.equal(*weights) and weights[1].is_contiguous(memory_format=torch.channels_last)
    one, other = (losses_of(model, batch_of(tiny_config, True)) for model in models)
    for name, loss in one.items():
        torch.testing.assert_close(loss, other[name], rtol=5e-3, atol=1e-3)
    with torch.no_grad():
        outputs = [model.eval()(batch_of(tiny_config, False)) for model in models]
    for first, second in zip(*outputs):
        torch.testing.assert_close(first["sem_seg"], second["sem_seg"], rtol=1e-3, atol=1e-3)
        assert second["sem_seg"].is_contiguous()


@pytest.mark.parametrize("output", ["compact", "detectron2"])
def test_bfloat16_has_close_results_in_float32(output: str, tiny_config: CfgNode) -> None:
    models = [build(tiny_config, CPU_PRECISION=name, OUTPUT=output) for name in ("float32", "bfloat16")]
    one, other = (losses_of(model, batch_of(tiny_config, True)) for model in models)
    for name, loss in one.items():
        assert other[name].isfinite()
        # Now and then another proposal is sampled.
        exact = name == "loss_sem_seg"
        torch.testing.assert_close(loss, other[name].float(), rtol=0.02 if exact else 0.2, atol=0.05)
    sum(other.values()).backward()
    assert {p.grad.dtype for p in models[1].parameters() if p.grad is not None} == {torch.float32}
    with torch.no_grad():
        first, second = (model.eval()(batch_of(tiny_config, False))[0] for model in models)
    assert second["instances"].scores.dtype == second["instances"].pred_boxes.tensor.dtype == torch.float32
    if output == "detectron2":
        assert second["sem_seg"].dtype == torch.float32
        torch.testing.assert_close(first["sem_seg"], second["sem_seg"], rtol=0.1, atol=0.1)


def test_bfloat16_predicts_in_windows_and_several_views(tiny_config: CfgNode) -> None:
    tiny_config.TEST.WINDOW.SIZE = 64
    tiny_config.TEST.AUG.ENABLED, tiny_config.TEST.AUG.SCALES = True, [1.0]
    model = build(tiny_config, CPU_PRECISION="bfloat16", OUTPUT="compact").eval()
    _, augmented = add_test_augmentation(tiny_config, model)
    with torch.no_grad():
        for each in (model, augmented):
            (output,) = each(batch_of(tiny_config, False)[:1])
            assert output["sem_seg_labels"].shape == (64, 128)
            assert output["instances"].scores.dtype == torch.float32 and len(output["instances"])


@pytest.mark.parametrize("is_train", [True, False])
def test_boxes_are_not_rounded_to_bfloat16(
    tiny_config: CfgNode, monkeypatch: pytest.MonkeyPatch, is_train: bool
) -> None:
    types = []

    def record(layer: ROIAlign, map: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        types.append((map.dtype, boxes.dtype))
        return pool(layer, map, boxes)

    pool = ROIAlign.forward
    monkeypatch.setattr(ROIAlign, "forward", record)
    model = build(tiny_config, CPU_PRECISION="bfloat16").train(is_train)
    features = model.backbone(torch.zeros(1, 3, 64, 128))
    with model.computing():
        assert model.backbone(torch.zeros(1, 3, 64, 128))["p2"].dtype == torch.bfloat16 != features["p2"].dtype
    model(batch_of(tiny_config, is_train))
    assert types and set(types) == {(torch.float32, torch.float32)}
