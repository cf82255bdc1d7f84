"""EfficientNet-Lite by the names of EfficientNet-PyTorch is the same network in timm's backbone."""

import math
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_backbone
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg import get_config
from unified_seg.checkpoint import Checkpointer, CheckpointError
from unified_seg.checkpoint.efficientnet_weights import is_efficientnet_lite, rename_efficientnet_lite

# Tan and Le, EfficientNet (2019), table 1: kernel, stride, expansion, channels, layers of each stage of B0 and Lite0.
STAGES = [
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]
Weights = dict[str, Tensor]


def norm(weights: Weights, name: str, channels: int) -> None:
    weights[f"{name}.weight"], weights[f"{name}.bias"] = torch.rand(channels) + 0.5, torch.randn(channels) / 5
    weights[f"{name}.running_mean"], weights[f"{name}.running_var"] = (
        torch.randn(channels) / 5,
        torch.rand(channels) + 0.5,
    )
    weights[f"{name}.num_batches_tracked"] = torch.tensor(7)


def conv(weights: Weights, name: str, out: int, into: int, kernel: int = 1) -> None:
    weights[f"{name}.weight"] = torch.randn(out, into, kernel, kernel) * math.sqrt(2 / (into * kernel**2))


@pytest.fixture(scope="module")
def published() -> Weights:
    """The state dict of a random EfficientNet-Lite0 as EfficientNet-PyTorch would save it."""
    torch.manual_seed(0)
    weights: Weights = {}
    conv(weights, "_conv_stem", 32, 3, 3)
    norm(weights, "_bn0", 32)
    channels, number = 32, 0
    for kernel, _, expansion, width, layers in STAGES:
        for _ in range(layers):
            block, inner = f"_blocks.{number}", channels * expansion
            if expansion > 1:
                conv(weights, f"{block}._expand_conv", inner, channels)
                norm(weights, f"{block}._bn0", inner)
            conv(weights, f"{block}._depthwise_conv", inner, 1, kernel)
            norm(weights, f"{block}._bn1", inner)
            conv(weights, f"{block}._project_conv", width, inner)
            norm(weights, f"{block}._bn2", width)
            channels, number = width, number + 1
    conv(weights, "_conv_head", 1280, 320)
    norm(weights, "_bn1", 1280)
    weights["_fc.weight"], weights["_fc.bias"] = torch.zeros(1000, 1280), torch.zeros(1000)
    return weights


def compute_features(weights: Weights, image: Tensor) -> list[Tensor]:
    """Return the maps before each halving and the last one, computed from the published names alone."""

    def convolve(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[f"{name}.weight"]
        pads: list[int] = []
        for size in (x.shape[3], x.shape[2]):  # TensorFlow's SAME
            total = max((math.ceil(size / stride) - 1) * stride + kernel.shape[-1] - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), kernel, stride=stride, groups=groups)

    def normalize(x: Tensor, name: str) -> Tensor:
        mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-3)

    x = F.relu6(normalize(convolve(image, "_conv_stem", 2), "_bn0"))
    number, features = 0, []
    for _, first_stride, expansion, width, layers in STAGES:
        if first_stride == 2:
            features.append(x)
        for layer in range(layers):
            block, stride, before = f"_blocks.{number}", 1 if layer else first_stride, x
            if expansion > 1:
                x = F.relu6(normalize(convolve(x, f"{block}._expand_conv"), f"{block}._bn0"))
            x = F.relu6(normalize(convolve(x, f"{block}._depthwise_conv", stride, x.shape[1]), f"{block}._bn1"))
            x = normalize(convolve(x, f"{block}._project_conv"), f"{block}._bn2")
            if stride == 1 and before.shape[1] == width:
                x = x + before
            number += 1
    return [*features, x][1:]


def build(name: str = "tf_efficientnet_lite0", backbone: str = "build_timm_fpn_backbone") -> nn.Module:
    cfg = get_config()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.TIMM.NAME = backbone, name
    cfg.MODEL.FPN.IN_FEATURES, cfg.MODEL.FPN.OUT_CHANNELS = ["res2", "res3", "res4", "res5"], 8
    model = nn.Module()
    model.backbone = build_backbone(cfg)
    model.head = nn.Conv2d(1, 1, 1)
    return model


def save(weights: Weights, folder: Path) -> str:
    file = folder / "lite.pth"
    torch.save(weights, file)
    return str(file)


@pytest.mark.parametrize("backbone", ["build_timm_backbone", "build_timm_fpn_backbone"])
def test_features_equal_those_of_the_published_network(backbone: str, published: Weights, tmp_path: Path) -> None:
    model = build(backbone=backbone).eval()
    before = model.head.weight.clone()
    Checkpointer(model).load(save(published, tmp_path))
    body = getattr(model.backbone, "bottom_up", model.backbone)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        found, expected = list(body(image).values()), compute_features(published, image)
    assert len(found) == len(expected) == 4
    for one, other in zip(found, expected):
        assert other.std() > 0.1
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert torch.equal(model.head.weight, before)


def test_every_tensor_of_the_backbone_gets_one_of_the_file(published: Weights) -> None:
    with torch.device("meta"):
        expected = build(backbone="build_timm_backbone").backbone.state_dict()
    renamed = rename_efficientnet_lite(published)
    assert {n: v.shape for n, v in renamed.items()} == {n: v.shape for n, v in expected.items()}
    left_out = {n for n in published if n.split(".")[0] in ("_conv_head", "_bn1", "_fc")}
    assert len(renamed) == len(published) - len(left_out) and len(left_out) == 8


@pytest.mark.parametrize(
    ("name", "fault"),
    # Lite1 has more blocks, in its stage 1 first.
    [
        ("tf_efficientnet_lite1", r"MODEL\.TIMM\.NAME: .*blocks\.1\.2\..* is not in it"),
        ("mobilenetv3_small_050", "another architecture"),
    ],
)
def test_weights_of_another_network_are_refused(
    name: str, fault: str, published: Weights, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CheckpointError, match=rf"lite\.pth: .*{fault}"):
        Checkpointer(build(name)).load(save(published, tmp_path))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]  # one for each tensor


def test_surplus_weights_are_refused(published: Weights, tmp_path: Path) -> None:
    deeper = {**published, **{n.replace(".15.", ".16."): v for n, v in published.items() if "_blocks.15." in n}}
    with pytest.raises(CheckpointError, match=r"MODEL\.TIMM\.NAME: the model has no network\.blocks\.6\.1\."):
        Checkpointer(build()).load(save(deeper, tmp_path))


def test_only_whole_networks_of_this_kind_are_recognized(published: Weights) -> None:
    assert is_efficientnet_lite(published)
    assert not is_efficientnet_lite({**published, "decoder.weight": torch.zeros(1)})
    # EfficientNet-B0 has squeeze-and-excitation.
    assert not is_efficientnet_lite({**published, "_blocks.0._se_reduce.weight": torch.zeros(1)})
    assert not is_efficientnet_lite({f"backbone.{n}": v for n, v in published.items()})
    assert not is_efficientnet_lite({})
