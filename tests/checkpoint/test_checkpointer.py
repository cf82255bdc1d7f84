import hashlib
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from detectron2.modeling import build_backbone
from torch import nn

from unified_seg import get_config
from unified_seg.checkpoint.checkpointer import Checkpointer, CheckpointError
from unified_seg.heads.detectron2_heads import Detectron2Head


class Harm:
    """Unpickling it runs code: what a hostile checkpoint looks like."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def model() -> nn.Module:
    return nn.Sequential(OrderedDict(first=nn.Linear(2, 3), second=nn.Linear(3, 1)))


def save(path, content):
    torch.save(content, path)
    return str(path)


def test_round_trip(tmp_path):
    source, target = model(), model()
    Checkpointer(source, str(tmp_path)).save("m")
    Checkpointer(target, complete=True).load(str(tmp_path / "m.pth"))
    assert torch.equal(source.first.weight, target.first.weight)


def test_a_bare_state_dict_loads(tmp_path):
    source, target = model(), model()
    Checkpointer(target, complete=True).load(save(tmp_path / "m.pth", source.state_dict()))
    assert torch.equal(source.second.bias, target.second.bias)


@pytest.mark.parametrize("suffix", ["pth", "pkl"])
@pytest.mark.parametrize("environment", ["", "1"])
def test_a_checkpoint_runs_nothing(tmp_path, monkeypatch, suffix, environment):
    # The variable makes torch.load unpickle everything, unless it is told explicitly not to.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", environment)
    proof, path = tmp_path / "proof", tmp_path / f"m.{suffix}"
    content = {"model": {"first.weight": Harm(proof)}, "__author__": "x"}
    if suffix == "pth":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=f"m.{suffix}"):
        Checkpointer(model()).load(str(path))
    assert not proof.exists()


def test_zoo_pickles_of_arrays_load(tmp_path):
    source, target = model(), model()
    arrays = {k: v.numpy() for k, v in source.state_dict().items()}
    path = tmp_path / "zoo.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}))
    Checkpointer(target, complete=True).load(str(path))
    assert torch.equal(source.first.weight, target.first.weight)


def test_numpy_scalars_in_a_pickle_load(tmp_path):
    source = model()
    arrays = {k: v.numpy() for k, v in source.state_dict().items()}
    path = tmp_path / "zoo.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "x", "step": np.float64(3)}))
    Checkpointer(model()).load(str(path))


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>moved</html>", b"PK\x03\x04 truncated"])
@pytest.mark.parametrize("suffix", ["pth", "pkl"])
def test_files_that_are_no_checkpoint(tmp_path, content, suffix):
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"bad.{suffix}"):
        Checkpointer(model()).load(str(path))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: there is no such file"):
        Checkpointer(model()).load(str(tmp_path / "nowhere.pth"))


def test_no_key_matches(tmp_path):
    path = save(tmp_path / "other.pth", {"model": {"third.weight": torch.zeros(2)}})
    with pytest.raises(CheckpointError, match=r"other\.pth: from another architecture: none of its names"):
        Checkpointer(model()).load(path)


def test_all_shapes_differ(tmp_path):
    state = {k: torch.zeros(7) for k in model().state_dict()}
    with pytest.raises(CheckpointError, match=r"other\.pth.*every shape differs"):
        Checkpointer(model()).load(save(tmp_path / "other.pth", state))


def test_fine_tuning_takes_what_fits_and_evaluation_wants_all(tmp_path):
    source, target = model(), model()
    state = source.state_dict()
    state["second.weight"] = torch.zeros(5, 3)  # another number of classes
    path = save(tmp_path / "part.pth", state)
    Checkpointer(target).load(path)
    assert torch.equal(source.first.weight, target.first.weight)
    with pytest.raises(CheckpointError, match=r"1 of 4 parameters.*second\.weight"):
        Checkpointer(model(), complete=True).load(path)


def test_what_is_required_must_be_there_and_the_rest_need_not(tmp_path):
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(3), nn.Linear(3, 5)

    required = ["norm.weight", "norm.running_mean", "head.weight"]
    state = Frozen().state_dict()
    state["norm.running_mean"] += 2
    del state["head.bias"]
    target = Frozen()
    Checkpointer(target, required=required).load(save(tmp_path / "m.pth", state))
    assert target.norm.running_mean.tolist() == [2, 2, 2]

    del state["norm.running_mean"]
    message = r"m\.pth: 1 of 3 parameters and buffers that SOLVER\.TRAIN_PARTS freezes.*, norm\.running_mean for one"
    with pytest.raises(CheckpointError, match=message):
        Checkpointer(Frozen(), required=required).load(save(tmp_path / "m.pth", state))
    state["head.weight"] = torch.zeros(19, 3)  # of other classes, which says more
    message = r"m\.pth: 2 of 3 .*, for one head\.weight: \(19, 3\) in the file, \(5, 3\) here"
    with pytest.raises(CheckpointError, match=message):
        Checkpointer(Frozen(), required=required).load(save(tmp_path / "m.pth", state))
    message = r"MODEL\.WEIGHTS is empty: 3 .* SOLVER\.TRAIN_PARTS freezes must come from weights, head\.weight for one"
    with pytest.raises(CheckpointError, match=message):
        Checkpointer(Frozen(), required=required).load("")
    Checkpointer(Frozen()).load("")


def test_required_parts_of_a_head_of_detectron2_have_its_names_in_the_message():
    class Bare(nn.Module):
        common_stride, ignore_value = 4, 255

        def __init__(self):
            super().__init__()
            self.predictor = nn.Conv2d(2, 5, 1)

        def layers(self, features):
            return self.predictor(features["p2"])

        def losses(self, logits, targets):
            raise NotImplementedError

    def whole():
        return nn.ModuleDict({"backbone": nn.Linear(1, 1), "sem_seg_head": Detectron2Head(Bare(), 5)})

    state, required = whole().state_dict(), ["sem_seg_head.head.predictor.weight"]
    Checkpointer(whole(), required=required).load_weights(state, "x")
    other = {**state, "sem_seg_head.predictor.weight": torch.zeros(19, 2, 1, 1)}
    message = r"weights x: .* sem_seg_head\.predictor\.weight: \(19, 2, 1, 1\) in the file, \(5, 2, 1, 1\) here"
    with pytest.raises(CheckpointError, match=message):
        Checkpointer(whole(), required=required).load_weights(other, "x")
    del state["sem_seg_head.predictor.weight"]
    with pytest.raises(CheckpointError, match=r"weights x: 1 of 1 .*, sem_seg_head\.predictor\.weight for one"):
        Checkpointer(whole(), required=required).load_weights(state, "x")
    assert len(other) == 4  # the caller's dictionary is left alone


def resnet(name="build_dilated_resnet_backbone"):
    cfg = get_config()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.FREEZE_AT = name, 0
    cfg.MODEL.RESNETS.NORM = "BN"
    cfg.MODEL.RESNETS.DEPTH = 50
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res5"]
    return nn.Sequential(OrderedDict(backbone=build_backbone(cfg)))


def caffe2_name(name):
    """res2.0.conv1.norm.weight -> res2_0_branch2a_bn_s, as the MSRA weights of Detectron2's zoo have it."""
    *path, parameter = name.split(".")
    norm = path[-1] == "norm"
    path = path[:-1] if norm else path
    suffix = {"weight": "bn_s", "bias": "bn_b"}[parameter] if norm else "w"
    if path[0] == "stem":
        return "res_conv1_bn_" + suffix[-1] if norm else "conv1_w"
    branch = {"shortcut": "branch1", "conv1": "branch2a", "conv2": "branch2b", "conv3": "branch2c"}[path[2]]
    return f"{path[0]}_{path[1]}_{branch}_{suffix}"


@pytest.mark.parametrize("form", ["caffe2", "detectron2"])
def test_imagenet_pickles_of_the_zoo_fill_a_dilated_backbone(form, tmp_path):
    target = resnet()
    generator = np.random.default_rng(0)
    arrays = {
        name.removeprefix("backbone."): generator.standard_normal(value.shape, dtype=np.float32)
        for name, value in target.named_parameters()
    }
    if form == "caffe2":
        content = {caffe2_name(name): value for name, value in arrays.items()}
        content |= {"fc1000_w": np.zeros((1000, 2048), np.float32), "conv1_w_momentum": np.zeros(1, np.float32)}
    else:
        content = {"model": arrays, "__author__": "torchvision", "matching_heuristics": True}
    path = tmp_path / "R-50.pkl"
    path.write_bytes(pickle.dumps(content))
    Checkpointer(target).load(str(path))
    loaded = target.backbone.state_dict()
    assert len(arrays) == 53 * 3  # 53 convolutions, each with the weight and bias of its norm
    for name, value in arrays.items():
        assert np.array_equal(loaded[name].numpy(), value), name


def at_url(monkeypatch, folder, url, content):
    """Put a file where the path manager keeps what it has downloaded."""
    monkeypatch.setenv("FVCORE_CACHE", str(folder))
    cached = folder.joinpath(*url.split("/")[3:])
    cached.parent.mkdir(parents=True)
    torch.save(content, cached)
    return cached


def test_a_url_is_loaded_and_its_digest_checked(tmp_path, monkeypatch):
    source, target = model(), model()
    torch.save(source.state_dict(), tmp_path / "m.pth")
    digest = hashlib.sha256((tmp_path / "m.pth").read_bytes()).hexdigest()[:8]
    url = f"https://download.pytorch.org/models/net-{digest}.pth"
    cached = at_url(monkeypatch, tmp_path / "cache", url, {})
    (tmp_path / "m.pth").rename(cached)
    Checkpointer(target, complete=True).load(url)
    assert torch.equal(source.first.weight, target.first.weight)

    cached.write_bytes(cached.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=rf"net-{digest}\.pth: its name promises a SHA-256 of {digest}.*delete"):
        Checkpointer(target).load(url)


def test_other_publishers_promise_no_digest(tmp_path, monkeypatch):
    url = "https://example.org/weights/net-20260101.pth"
    at_url(monkeypatch, tmp_path, url, model().state_dict())
    Checkpointer(model(), complete=True).load(url)
