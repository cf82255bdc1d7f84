import copy

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_backbone
from timm.layers import BatchNormAct2d
from torch import nn

from unified_seg.backbones import freeze_bn_statistics


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return net


def test_statistics_stay_and_gamma_and_beta_learn() -> None:
    net = small_net()
    assert freeze_bn_statistics(net) == 2
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for mode in (True, False, True):
        net.train(mode)
        optimizer.zero_grad()
        net(torch.randn(4, 3, 8, 8)).square().mean().backward()
        optimizer.step()
    net.train().eval()
    after = net.state_dict()
    for name, value in before.items():
        if "running" in name or "num_batches" in name:
            assert torch.equal(after[name], value), name
        else:
            assert not torch.equal(after[name], value), name


def test_every_mode_normalizes_with_the_running_statistics() -> None:
    net = small_net().eval()
    frozen = copy.deepcopy(net)
    freeze_bn_statistics(frozen)
    x = torch.randn(2, 3, 8, 8) * 5
    expected = net(x)
    assert torch.equal(frozen.train()(x), expected)
    assert torch.equal(frozen.eval()(x), expected)
    assert not torch.allclose(net.train()(x), expected)


def test_activations_of_norms_stay() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), BatchNormAct2d(4, act_layer=nn.SiLU)).eval()
    x = torch.randn(2, 3, 8, 8)
    expected = net(x)
    assert freeze_bn_statistics(net) == 1
    assert torch.equal(net.train()(x), expected)


def test_state_dict_does_not_change() -> None:
    net = small_net()
    net[1].weight.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    freeze_bn_statistics(net)
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not net[1].weight.requires_grad and net[1].bias.requires_grad
    net.load_state_dict(before)  # strict


def test_network_without_batch_norm_is_an_error() -> None:
    with pytest.raises(ValueError, match="FREEZE_BN_STATISTICS: the backbone has no BatchNorm2d"):
        freeze_bn_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)))


def test_detectron2s_backbone_keeps_its_names(tiny_config: CfgNode) -> None:
    backbone = build_backbone(tiny_config)
    names = list(backbone.state_dict())
    count = sum(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    assert freeze_bn_statistics(backbone) == count == 53
    assert list(backbone.state_dict()) == names
    assert not any(m.training for m in backbone.train().modules() if isinstance(m, nn.BatchNorm2d))
    assert backbone.training
