"""Loading: what fits a model, by which names, and which files are refused."""

import hashlib
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.modeling import build_backbone
from torch import Tensor, nn

from unified_seg import get_config
from unified_seg.checkpoint import Checkpointer, CheckpointError
from unified_seg.checkpoint.downloads import name_in_cache


def model() -> nn.Sequential:
    return nn.Sequential(OrderedDict(first=nn.Linear(2, 3), second=nn.Linear(3, 1)))


def arrays() -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model().state_dict().items()}


def write(path: Path, content: Any) -> str:
    """Write a pickle or a PyTorch file, by the suffix."""
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    return str(path)


def assert_loads(path: str, expected: dict[str, Any]) -> None:
    target = model()
    Checkpointer(target, complete=True).load(path)
    for name, value in target.state_dict().items():
        assert np.array_equal(value, expected[name]), name


def test_saved_checkpoint_loads(tmp_path: Path) -> None:
    source = model()
    Checkpointer(source, str(tmp_path)).save("m")
    assert_loads(str(tmp_path / "m.pth"), source.state_dict())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_bare_state_dict_loads(prefix: str, tmp_path: Path) -> None:
    state = model().state_dict()
    path = write(tmp_path / "m.pth", {prefix + name: value for name, value in state.items()})
    assert_loads(path, state)


def test_pickle_of_the_model_zoo_loads(tmp_path: Path) -> None:
    state = arrays()
    content = {"model": dict(state), "__author__": "Detectron2 Model Zoo", "step": np.float64(3)}
    assert_loads(write(tmp_path / "zoo.pkl", content), state)


class Harm:
    """Unpickling it writes a file, as hostile checkpoints do worse."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", ["pth", "pkl"])
@pytest.mark.parametrize("environment", ["", "1"])
def test_loading_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, environment: str) -> None:
    # The variable makes torch.load unpickle everything, unless the call forbids it.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", environment)
    proof, path = tmp_path / "proof", tmp_path / f"m.{suffix}"
    with pytest.raises(CheckpointError, match=f"m.{suffix}"):
        Checkpointer(model()).load(write(path, {"model": {"first.weight": Harm(proof)}, "__author__": "x"}))
    assert not proof.exists()


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>moved</html>", b"PK\x03\x04 truncated"])
@pytest.mark.parametrize("suffix", ["pth", "pkl"])
def test_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"bad.{suffix}"):
        Checkpointer(model()).load(str(path))


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ([torch.zeros(2)], "list"),
        ({"state_dict": {"first.weight": torch.zeros(3, 2)}, "epoch": 3}, "state_dict"),
        ({"model": {"third.weight": torch.zeros(2)}}, "none of its names"),
        ({name: torch.zeros(7) for name in arrays()}, "every shape differs, for example first.weight"),
    ],
)
def test_file_without_fitting_weights_is_named(tmp_path: Path, content: Any, detail: str) -> None:
    with pytest.raises(CheckpointError, match=rf"other\.pth.*{detail}"):
        Checkpointer(model()).load(write(tmp_path / "other.pth", content))


@pytest.mark.parametrize(
    "content", [{"model": None}, {"model": [1, 2]}, {1: torch.zeros(1)}, {"model": {1: torch.zeros(1)}}, {"blobs": 5}]
)
def test_content_that_is_no_state_dict_is_named(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"odd\.pth"):
        Checkpointer(nn.Linear(2, 2)).load(str(tmp_path / "odd.pth"))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: there is no such file"):
        Checkpointer(model()).load(str(tmp_path / "nowhere.pth"))


def test_a_path_that_is_no_regular_file_is_described(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pth")
    with pytest.raises(CheckpointError, match=r"fifo\.pth: not a regular file, but a FIFO"):
        Checkpointer(model()).load(str(tmp_path / "fifo.pth"))
    with pytest.raises(CheckpointError, match=r": a folder; name a file, such as .*model_final\.pth"):
        Checkpointer(model()).load(str(tmp_path))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bool, torch.int8])
def test_weights_that_are_not_floating_point_are_named(tmp_path: Path, dtype: torch.dtype) -> None:
    state = model().state_dict()
    # A tensor that the model does not have may be of any type.
    content = {**state, "second.weight": state["second.weight"].to(dtype), "other": torch.ones(2, dtype=dtype)}
    with pytest.raises(CheckpointError, match=rf"m\.pth: second\.weight is a tensor of {dtype}"):
        Checkpointer(model()).load(write(tmp_path / "m.pth", content))
    assert_loads(write(tmp_path / "m.pth", {**content, "second.weight": state["second.weight"]}), state)


def test_fine_tuning_takes_what_fits_and_evaluation_needs_all(tmp_path: Path) -> None:
    source, target = model(), model()
    state = source.state_dict()
    state["second.weight"] = torch.zeros(5, 3)  # another number of classes
    path = write(tmp_path / "part.pth", state)
    Checkpointer(target).load(path)
    assert torch.equal(source.first.weight, target.first.weight)
    with pytest.raises(CheckpointError, match=r"part\.pth: 1 of 4 .*second\.weight"):
        Checkpointer(model(), complete=True).load(path)


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(3), nn.Linear(3, 5)


REQUIRED = ["norm.weight", "norm.running_mean", "head.weight"]


def test_required_weights_load_without_the_others() -> None:
    state, target = Frozen().state_dict(), Frozen()
    state["norm.running_mean"] += 2
    del state["head.bias"]
    Checkpointer(target, required=REQUIRED).load_weights(state, "x")
    assert target.norm.running_mean.tolist() == [2, 2, 2]


def test_absent_required_weights_are_named() -> None:
    state = Frozen().state_dict()
    del state["norm.running_mean"]
    with pytest.raises(CheckpointError, match=r"weights x: 1 of 3 .*SOLVER\.TRAIN_PARTS.*norm\.running_mean"):
        Checkpointer(Frozen(), required=REQUIRED).load_weights(state, "x")
    state["head.weight"] = torch.zeros(19, 3)  # other classes: a more helpful example than an absent name
    with pytest.raises(CheckpointError, match=r"weights x: 2 of 3 .*head\.weight: \(19, 3\) .* \(5, 3\)"):
        Checkpointer(Frozen(), required=REQUIRED).load_weights(state, "x")
    with pytest.raises(CheckpointError, match=r"MODEL\.WEIGHTS is empty: 3 .*TRAIN_PARTS.*head\.weight.*FREEZE_AT 0"):
        Checkpointer(Frozen(), required=REQUIRED).load("")
    Checkpointer(Frozen()).load("")


class Wrapper(nn.Module):
    """A module around another, as wrapper heads are; older files leave out the name `base`."""

    def __init__(self, base: nn.Module):
        super().__init__()
        self.base, self.own = base, nn.Linear(1, 2)

    def rename_older_keys(self, state_dict: dict[str, Any], prefix: str) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            name = key.removeprefix(prefix)
            if not name.startswith(("base.", "own.")):
                state_dict[f"{prefix}base.{name}"] = state_dict.pop(key)


def wrapped() -> nn.Module:
    return nn.ModuleDict({"head": Wrapper(Wrapper(nn.Linear(3, 2))), "backbone": nn.Linear(1, 1)})


def older_state() -> dict[str, Tensor]:
    """The weights of `wrapped` in a file that leaves out `base` twice; inner `own` had a name of its own then."""
    state = wrapped().state_dict()
    return {name.replace("base.", "") if "own" not in name else name: value for name, value in state.items()}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_names_of_older_files_are_renamed_from_the_outside_in(prefix: str) -> None:
    target, state = wrapped(), older_state()
    assert "head.weight" in state
    Checkpointer(target, complete=True).load_weights({prefix + name: value for name, value in state.items()}, "x")
    assert torch.equal(target.state_dict()["head.base.base.weight"], state["head.weight"])
    assert "head.weight" in state  # the caller's dictionary stays as it is


def test_messages_have_the_names_of_today() -> None:
    state, required = older_state(), ["head.base.base.weight"]
    state["head.weight"] = torch.zeros(19, 3)
    with pytest.raises(CheckpointError, match=r"head\.base\.base\.weight: \(19, 3\) .* \(2, 3\)"):
        Checkpointer(wrapped(), required=required).load_weights(state, "x")
    del state["head.weight"]
    for options in ({"required": required}, {"complete": True}):
        with pytest.raises(CheckpointError, match=r"1 of \d .*head\.base\.base\.weight"):
            Checkpointer(wrapped(), **options).load_weights(state, "x")


def dilated_resnet() -> nn.Sequential:
    cfg = get_config()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.FREEZE_AT = "build_dilated_resnet_backbone", 0
    cfg.MODEL.RESNETS.NORM, cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.OUT_FEATURES = "BN", 50, ["res5"]
    cfg.MODEL.RESNETS.WIDTH_PER_GROUP, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 4, 16
    return nn.Sequential(OrderedDict(backbone=build_backbone(cfg)))


def caffe2_name(name: str) -> str:
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
def test_imagenet_pickles_of_the_zoo_fill_a_dilated_backbone(form: str, tmp_path: Path) -> None:
    target = dilated_resnet()
    generator = np.random.default_rng(0)
    weights = {
        name.removeprefix("backbone."): generator.standard_normal(value.shape, dtype=np.float32)
        for name, value in target.named_parameters()
    }
    content: dict[str, Any] = {"model": weights, "__author__": "torchvision", "matching_heuristics": True}
    if form == "caffe2":
        content = {caffe2_name(name): value for name, value in weights.items()}
        content |= {"fc1000_w": np.zeros((1000, 8), np.float32), "conv1_w_momentum": np.zeros(1, np.float32)}
    Checkpointer(target).load(write(tmp_path / "R-50.pkl", content))
    loaded = target.backbone.state_dict()
    assert len(weights) == 53 * 3  # 53 convolutions, each with the weight and bias of its norm
    for name, value in weights.items():
        assert np.array_equal(loaded[name].numpy(), value), name


def cache_download(monkeypatch: pytest.MonkeyPatch, folder: Path, url: str, content: Any) -> Path:
    """Put a file into the cache."""
    monkeypatch.setenv("UNIFIED_SEG_CACHE", str(folder))
    cached = name_in_cache(url)
    cached.parent.mkdir(parents=True)
    write(cached, content)
    return cached


def test_url_loads_and_its_digest_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = model().state_dict()
    write(tmp_path / "m.pth", state)
    digest = hashlib.sha256((tmp_path / "m.pth").read_bytes()).hexdigest()[:8]
    url = f"https://download.pytorch.org/models/net-{digest}.pth"
    cached = cache_download(monkeypatch, tmp_path / "cache", url, {})
    (tmp_path / "m.pth").rename(cached)
    assert_loads(url, state)
    cached.write_bytes(cached.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=rf"net-{digest}\.pth: .*SHA-256 {digest}"):
        Checkpointer(model()).load(url)


def test_digest_of_other_publishers_is_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://example.org/weights/net-20260101.pth"
    cache_download(monkeypatch, tmp_path, url, model().state_dict())
    Checkpointer(model(), complete=True).load(url)
