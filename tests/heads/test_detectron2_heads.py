import copy
import gc
import pickle
import weakref
from collections.abc import Callable

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.config import get_config
from unified_seg.heads import HeadInputs, build_semantic_head, semantic_head_names
from unified_seg.heads.detectron2_heads import Detectron2Head

SHAPES = {f"p{i}": ShapeSpec(channels=32, stride=2**i) for i in (2, 3, 4, 5)}


@pytest.fixture
def fpn_config() -> CfgNode:
    cfg = get_config()
    head = cfg.MODEL.SEM_SEG_HEAD
    head.NAME, head.NUM_CLASSES, head.CONVS_DIM = "SemSegFPNHead", 5, 32
    head.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    return cfg


def test_weights_load_from_the_bare_head_and_back(fpn_config: CfgNode) -> None:
    bare = SEM_SEG_HEADS_REGISTRY.get("SemSegFPNHead")(fpn_config, SHAPES)
    adapter = build_semantic_head(fpn_config, SHAPES)
    assert isinstance(adapter, Detectron2Head)
    assert list(adapter.state_dict()) == list(bare.state_dict())

    # Into the adapter, as a part of another module, and back.
    outer, state = nn.ModuleDict({"sem_seg_head": adapter}), bare.state_dict()
    named = {f"sem_seg_head.{key}": value for key, value in state.items()}
    given = copy.copy(named)
    outer.load_state_dict(named)
    assert named == given, "the caller's dictionary is left alone"
    assert {key: value.tolist() for key, value in outer.state_dict().items()} == {
        key: value.tolist() for key, value in named.items()
    }
    bare.load_state_dict(adapter.state_dict())


def test_missing_and_surplus_weights_are_refused(fpn_config: CfgNode) -> None:
    adapter = build_semantic_head(fpn_config, SHAPES)
    state = adapter.state_dict()
    del state["predictor.bias"]
    with pytest.raises(RuntimeError, match=r"Missing key.*predictor\.bias"):
        adapter.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*surplus"):
        adapter.load_state_dict({**build_semantic_head(fpn_config, SHAPES).state_dict(), "surplus": torch.zeros(1)})


def test_outputs_and_losses_equal_those_of_the_bare_head(fpn_config: CfgNode) -> None:
    adapter = build_semantic_head(fpn_config, SHAPES)
    assert isinstance(adapter, Detectron2Head)
    bare = adapter.head
    features = {f"p{i}": torch.randn(2, 32, 64 // 2**i, 96 // 2**i) for i in (2, 3, 4, 5)}
    targets = torch.randint(0, 5, (2, 64, 96))
    targets[0, :9] = 255
    assert torch.equal(adapter.eval()(features)[0], bare(features)[0])
    adapter.train()
    losses, expected = adapter(features, targets)[1], bare(features, targets)[1]
    assert losses.keys() == expected.keys() == {"loss_sem_seg"}
    assert torch.equal(losses["loss_sem_seg"], expected["loss_sem_seg"])


def test_modules_that_are_not_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="Linear can't be adapted: it has no layers, losses"):
        Detectron2Head(nn.Linear(1, 1), 5)


def test_unknown_name_lists_the_known_ones(fpn_config: CfgNode) -> None:
    fpn_config.MODEL.SEM_SEG_HEAD.NAME = "ASPRefinmentHead"
    with pytest.raises(ValueError, match="unknown semantic head 'ASPRefinmentHead'; known: ") as error:
        build_semantic_head(fpn_config, SHAPES)
    assert all(name in str(error.value) for name in semantic_head_names())


def test_unknown_feature_lists_the_known_ones(fpn_config: CfgNode) -> None:
    fpn_config.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["p2", "res5"]
    with pytest.raises(ValueError, match="IN_FEATURES: the backbone has no res5; it has p2, p3, p4, p5"):
        build_semantic_head(fpn_config, SHAPES)


@pytest.fixture
def deeplab_config() -> CfgNode:
    """The defaults of `get_config`, except for those that depend on the features."""
    cfg = get_config()
    head = cfg.MODEL.SEM_SEG_HEAD
    head.NAME, head.NUM_CLASSES, head.CONVS_DIM, head.ASPP_CHANNELS = "DeepLabV3PlusHead", 5, 32, 64
    head.IN_FEATURES, head.PROJECT_CHANNELS = ["p2", "p5"], [32]
    return cfg


@pytest.fixture(params=["SemSegFPNHead", "DeepLabV3PlusHead"])
def adapter(request: pytest.FixtureRequest, fpn_config: CfgNode, deeplab_config: CfgNode) -> Detectron2Head:
    """Either of the two heads, in inference mode."""
    torch.manual_seed(0)
    head = build_semantic_head(fpn_config if request.param == "SemSegFPNHead" else deeplab_config, SHAPES)
    assert isinstance(head, Detectron2Head)
    return head.eval()


def features(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {f"p{i}": torch.randn(2, 32, 64 // 2**i, 96 // 2**i, generator=generator) for i in (2, 3, 4, 5)}


def test_context_and_feature_of_an_fpn_head(fpn_config: CfgNode) -> None:
    adapter, maps = build_semantic_head(fpn_config, SHAPES), features()
    prediction = adapter.predict(HeadInputs(maps))
    parts = [adapter.head.get_submodule(name)(maps[name]) for name in ("p2", "p3", "p4", "p5")]
    assert torch.equal(prediction.context, parts[-1])
    torch.testing.assert_close(prediction.feature, sum(parts))
    assert torch.equal(adapter.head.predictor(prediction.feature), prediction.logits)


def test_context_and_feature_of_deeplab(deeplab_config: CfgNode) -> None:
    adapter, maps = build_semantic_head(deeplab_config, SHAPES).eval(), features()
    prediction, decoder = adapter.predict(HeadInputs(maps)), adapter.head.decoder
    context = decoder["p5"]["project_conv"](maps["p5"])
    assert context.shape == (2, 64, 2, 3) and torch.equal(prediction.context, context)
    near = F.interpolate(context, size=(16, 24), mode="bilinear", align_corners=False)
    feature = decoder["p2"]["fuse_conv"](torch.cat([decoder["p2"]["project_conv"](maps["p2"]), near], dim=1))
    assert torch.equal(prediction.feature, feature)
    assert torch.equal(adapter.head.predictor(feature), prediction.logits)


class OwnFPNHead(SemSegFPNHead):
    """A variant with half the input of the classifier."""

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        return self.predictor(sum(head(features[f]) for f, head in zip(self.in_features, self.scale_heads)) / 2)


def test_subclass_of_a_known_head_has_its_own_feature() -> None:
    head = OwnFPNHead(SHAPES, num_classes=5, conv_dims=32, common_stride=4, norm="GN", ignore_value=255)
    prediction = Detectron2Head(head, 5).predict(HeadInputs(features()))
    assert torch.equal(prediction.context, head.scale_heads[-1](features()["p5"]))
    assert torch.equal(head.predictor(prediction.feature), prediction.logits)


class OtherHead(nn.Module):
    """A head of another kind, which may have a `predictor` and may use it."""

    common_stride, ignore_value = 4, 255

    def __init__(self, predictor: bool, used: bool):
        super().__init__()
        self.used = used
        self.conv = nn.Conv2d(32, 5, 1)
        if predictor:
            self.predictor = nn.Conv2d(32, 5, 1)

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        return self.predictor(features["p2"] + 1) if self.used else self.conv(features["p2"])

    def losses(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {}


@pytest.mark.parametrize(("predictor", "used"), [(True, True), (True, False), (False, False)])
def test_other_heads_have_a_feature_if_their_predictor_is_used(predictor: bool, used: bool) -> None:
    prediction = Detectron2Head(OtherHead(predictor, used), 5).predict(HeadInputs(features()))
    assert prediction.context is None
    assert (prediction.feature is not None) is used
    assert not used or torch.equal(prediction.feature, features()["p2"] + 1)


def test_calls_do_not_affect_each_other(adapter: Detectron2Head) -> None:
    first, second = adapter.predict(HeadInputs(features(1))), adapter.predict(HeadInputs(features(2)))
    assert not torch.equal(first.context, second.context) and not torch.equal(first.feature, second.feature)
    again = adapter.predict(HeadInputs(features(1)))
    assert torch.equal(first.context, again.context) and torch.equal(first.feature, again.feature)
    second.context.sum().backward()
    assert first.feature.grad_fn is not None and all(p.grad is None for p in adapter.head.predictor.parameters())


def count_hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def test_tensors_and_hooks_of_a_call_are_not_kept(adapter: Detectron2Head) -> None:
    prediction = adapter.predict(HeadInputs(features()))
    kept = [weakref.ref(tensor) for tensor in (prediction.logits, prediction.context, prediction.feature)]
    assert count_hooks(adapter) == 0
    del prediction
    gc.collect()
    assert [tensor() for tensor in kept] == [None] * 3
    # Also if the head fails between its context module and its predictor.
    adapter.head.predictor = nn.Conv2d(1, 1, 1)
    with pytest.raises(RuntimeError):
        adapter.predict(HeadInputs(features()))
    assert count_hooks(adapter) == 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_do_not_affect_each_other(
    adapter: Detectron2Head, duplicate: Callable[[nn.Module], Detectron2Head]
) -> None:
    adapter.predict(HeadInputs(features()))
    other, prediction = duplicate(adapter), adapter.predict(HeadInputs(features()))
    for part in ("logits", "context", "feature"):
        assert torch.equal(getattr(other.predict(HeadInputs(features())), part), getattr(prediction, part))
    assert list(other.state_dict()) == list(adapter.state_dict())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not other.predict(HeadInputs(features())).context.any()
    assert torch.equal(adapter.predict(HeadInputs(features())).context, prediction.context)


@pytest.mark.parametrize("loss", ["cross_entropy", "hard_pixel_mining"])
def test_deeplab_loss_without_valid_pixels_is_zero(deeplab_config: CfgNode, loss: str) -> None:
    deeplab_config.MODEL.SEM_SEG_HEAD.LOSS_TYPE = loss
    adapter = build_semantic_head(deeplab_config, SHAPES)
    losses = adapter.losses(adapter.predict(HeadInputs(features())), torch.full((2, 64, 96), 255))
    assert losses.keys() == {"loss_sem_seg"} and losses["loss_sem_seg"] == 0
    losses["loss_sem_seg"].backward()
    assert not any(p.grad.any() for p in adapter.head.predictor.parameters())
    # With valid pixels it is the head's own loss.
    targets = torch.full((2, 64, 96), 255)
    targets[:, :40] = 1
    prediction = adapter.predict(HeadInputs(features()))
    assert torch.equal(
        adapter.losses(prediction, targets)["loss_sem_seg"],
        adapter.head.losses(prediction.logits, targets)["loss_sem_seg"],
    )
    assert adapter.losses(prediction, targets)["loss_sem_seg"] > 0


def test_config_has_deeplabs_keys_and_this_projects_defaults() -> None:
    cfg = get_config()
    head = cfg.MODEL.SEM_SEG_HEAD
    assert (head.ASPP_CHANNELS, head.ASPP_DILATIONS, head.LOSS_TYPE) == (256, [6, 12, 18], "hard_pixel_mining")
    assert (cfg.SOLVER.POLY_LR_CONSTANT_ENDING, cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA) == (0.0, 1.0)


def test_assertions_of_detectron2s_heads_become_messages(deeplab_config: CfgNode) -> None:
    deeplab_config.MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS = [32, 32, 32]
    with pytest.raises(ValueError, match="DeepLabV3PlusHead refuses this config: Expected 1 project_channels, got 3"):
        build_semantic_head(deeplab_config, SHAPES)


def test_deeplab_pools_the_whole_image_with_a_crop(deeplab_config: CfgNode) -> None:
    """Detectron2 pools windows of the crop's size, and refuses images that are not multiples of it."""
    deeplab_config.INPUT.CROP.ENABLED, deeplab_config.INPUT.CROP.TYPE = True, "absolute"
    deeplab_config.INPUT.CROP.SIZE = [96, 96]
    torch.manual_seed(0)
    cropped = build_semantic_head(deeplab_config, SHAPES).eval()
    deeplab_config.INPUT.CROP.ENABLED = False
    torch.manual_seed(0)
    whole = build_semantic_head(deeplab_config, SHAPES).eval()
    assert torch.equal(cropped.predict(HeadInputs(features())).logits, whole.predict(HeadInputs(features())).logits)
