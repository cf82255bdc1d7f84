"""Weights of a head inside another."""

import copy
import pickle

import torch
from torch import nn

from unified_seg.heads.hidden_name import hide_name


class Around(nn.Module):
    def __init__(self, base: nn.Module, own: str):
        super().__init__()
        self.base = base
        self.add_module(own, nn.Linear(2, 2))
        hide_name(self, "base")


class Model(nn.Module):
    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head


def plain() -> nn.Module:
    return nn.ModuleDict({"conv": nn.Linear(3, 2), "norm": nn.BatchNorm1d(2)})


def test_names_are_those_without_the_wrappers():
    nested = Model(Around(Around(plain(), "inner"), "outer"))
    own = {f"head.{name}.{kind}" for name in ("inner", "outer") for kind in ("weight", "bias")}
    assert nested.state_dict().keys() == Model(plain()).state_dict().keys() | own
    # named_parameters, which optimizers and freezing go by, says where a parameter is.
    assert "head.base.base.conv.weight" in dict(nested.named_parameters())


def test_weights_of_the_base_load_and_the_other_way_round():
    torch.manual_seed(0)
    trained, nested = Model(plain()), Model(Around(Around(plain(), "inner"), "outer"))
    missing, unexpected = nested.load_state_dict(trained.state_dict(), strict=False)
    assert unexpected == [] and set(missing) == {
        f"head.{path}.{kind}" for path in ("outer", "base.inner") for kind in ("weight", "bias")
    }
    for name, value in trained.head.named_parameters():
        assert torch.equal(value, dict(nested.head.base.base.named_parameters())[name])
    again = Model(plain())
    missing, unexpected = again.load_state_dict(nested.state_dict(), strict=False)
    assert missing == [] and len(unexpected) == 4


def test_a_whole_state_comes_back_also_in_copies():
    for nested in (Model(Around(plain(), "own")), copy.deepcopy(Model(Around(plain(), "own")))):
        other = pickle.loads(pickle.dumps(nested))
        with torch.no_grad():
            for parameter in nested.parameters():
                parameter.add_(1)
        other.load_state_dict(nested.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(other.parameters(), nested.parameters(), strict=True))
