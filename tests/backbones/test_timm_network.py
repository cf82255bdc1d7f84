import builtins
from typing import Any

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone

from unified_seg.backbones import TimmNetwork
from unified_seg.config import get_config


@pytest.mark.parametrize(
    ("name", "channels"),
    # HRNet's four branches; their sums 270, 480 and 720 are D of the paper's three sizes.
    [("hrnet_w18", (18, 36, 72, 144)), ("hrnet_w32", (32, 64, 128, 256)), ("hrnet_w48", (48, 96, 192, 384))],
)
def test_hrnet_features_are_its_branches(name: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):  # shapes alone: W48 has 65 million weights
        network = TimmNetwork(name)
    shapes = {f"res{i}": (c, 2**i) for i, c in zip((2, 3, 4, 5), channels)}
    assert {n: (s.channels, s.stride) for n, s in network.output_shape().items()} == shapes
    assert network.size_divisibility == 32


def test_maps_have_the_declared_shapes() -> None:
    cfg = get_config()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.TIMM.NAME = "build_timm_backbone", "hrnet_w18_small"
    network = build_backbone(cfg).eval()
    with torch.no_grad():
        maps = network(torch.randn(1, 3, 64, 96))
    assert {n: tuple(m.shape[1:]) for n, m in maps.items()} == {
        n: (s.channels, 64 // s.stride, 96 // s.stride) for n, s in network.output_shape().items()
    }
    assert not [n for n, _ in network.named_parameters() if "incre" in n or "classifier" in n]


def test_fpn_on_a_timm_network() -> None:
    cfg = get_config()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.TIMM.NAME = "build_timm_fpn_backbone", "hrnet_w18_small"
    cfg.MODEL.FPN.IN_FEATURES, cfg.MODEL.FPN.OUT_CHANNELS = ["res2", "res3", "res4", "res5"], 32
    backbone = build_backbone(cfg)
    assert {n: s.stride for n, s in backbone.output_shape().items()} == {f"p{i}": 2**i for i in (2, 3, 4, 5, 6)}
    assert isinstance(backbone.bottom_up, TimmNetwork)


def test_resnet_of_timm_has_four_features() -> None:
    with torch.device("meta"):
        shapes = TimmNetwork("resnet18").output_shape()
    assert shapes["res5"] == ShapeSpec(channels=512, stride=32) and list(shapes) == ["res2", "res3", "res4", "res5"]


def test_sync_bn_has_the_same_weights() -> None:
    with torch.device("meta"):
        plain, synchronized = TimmNetwork("hrnet_w18_small"), TimmNetwork("hrnet_w18_small", norm="SyncBN")
    assert synchronized.state_dict().keys() == plain.state_dict().keys()
    batch_norms = [m for m in synchronized.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert batch_norms and all(isinstance(m, torch.nn.SyncBatchNorm) for m in batch_norms)
    with pytest.raises(ValueError, match=r"MODEL\.TIMM\.NORM: .*'GN'"):
        TimmNetwork("hrnet_w18_small", norm="GN")


@pytest.mark.parametrize(("weights", "fetched"), [("", True), ("model_final.pth", False)])
def test_weights_are_loaded_unless_a_checkpoint_is_given(
    weights: str, fetched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def build(name: str, **arguments: Any) -> torch.nn.Module:
        calls.append(arguments)
        return TimmNetwork(name)

    monkeypatch.setattr("unified_seg.backbones.timm_network.TimmNetwork", build)
    cfg = get_config()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.WEIGHTS = "build_timm_backbone", weights
    cfg.MODEL.TIMM.NAME, cfg.MODEL.TIMM.PRETRAINED, cfg.MODEL.TIMM.NORM = "hrnet_w18_small", True, "SyncBN"
    with torch.device("meta"):
        build_backbone(cfg)
    assert calls == [{"pretrained": fetched, "in_channels": 3, "norm": "SyncBN", "output_stride": 32}]


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "convnext_atto"])
def test_dilated_network_keeps_its_weights_and_names(name: str, output_stride: int) -> None:
    with torch.device("meta"):
        plain, dilated = TimmNetwork(name), TimmNetwork(name, output_stride=output_stride)
        maps = dilated(torch.zeros(1, 3, 64, 96))
    assert {n: v.shape for n, v in dilated.state_dict().items()} == {n: v.shape for n, v in plain.state_dict().items()}
    strides = {f"res{i}": min(2**i, output_stride) for i in (2, 3, 4, 5)}
    assert {n: s.stride for n, s in dilated.output_shape().items()} == strides
    assert {n: tuple(m.shape[2:]) for n, m in maps.items()} == {n: (64 // s, 96 // s) for n, s in strides.items()}
    assert [s.channels for s in dilated.output_shape().values()] == [s.channels for s in plain.output_shape().values()]


def test_impossible_output_strides_are_errors() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=r"MODEL\.TIMM\.OUTPUT_STRIDE: hrnet_w18_small"):
        TimmNetwork("hrnet_w18_small", output_stride=8)
    with pytest.raises(ValueError, match=r"MODEL\.TIMM\.OUTPUT_STRIDE: .* 4"):
        TimmNetwork("resnet18", output_stride=4)
    cfg = get_config()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.TIMM.OUTPUT_STRIDE = "build_timm_fpn_backbone", 8
    with pytest.raises(ValueError, match=r"MODEL\.TIMM\.OUTPUT_STRIDE: .*build_timm_backbone"):
        build_backbone(cfg)


def test_unknown_names_are_errors() -> None:
    with pytest.raises(ValueError, match=r"timm has no 'hrnet_w17'; hrnet_w18"):
        TimmNetwork("hrnet_w17")
    with pytest.raises(ValueError, match=r"timm has no 'no such net'; see timm.list_models"):
        TimmNetwork("no such net")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_network_without_one_map_per_stride_is_an_error(name: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=rf"MODEL.TIMM.NAME: {name} does not have"):
        TimmNetwork(name)


def test_missing_timm_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name == "timm":
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ValueError, match=r"MODEL\.TIMM\.NAME: .*pip install timm"):
        TimmNetwork("hrnet_w18")
