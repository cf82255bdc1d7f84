import copy

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn

from unified_seg.config import get_config
from unified_seg.heads import build_semantic_head, registered_heads
from unified_seg.heads.adapter import Detectron2Head

SHAPES = {f"p{i}": ShapeSpec(channels=32, stride=2**i) for i in (2, 3, 4, 5)}


@pytest.fixture
def fpn_config() -> CfgNode:
    cfg = get_config()
    head = cfg.MODEL.SEM_SEG_HEAD
    head.NAME, head.NUM_CLASSES, head.CONVS_DIM = "SemSegFPNHead", 5, 32
    head.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    return cfg


def test_the_state_dict_is_the_bare_heads(fpn_config: CfgNode) -> None:
    bare = SEM_SEG_HEADS_REGISTRY.get("SemSegFPNHead")(fpn_config, SHAPES)
    adapter = build_semantic_head(fpn_config, SHAPES)
    assert isinstance(adapter, Detectron2Head)
    assert list(adapter.state_dict()) == list(bare.state_dict())

    # Into the adapter, inside another module, and back out, with nothing missing.
    outer, state = nn.ModuleDict({"sem_seg_head": adapter}), bare.state_dict()
    named = {f"sem_seg_head.{key}": value for key, value in state.items()}
    given = copy.copy(named)
    outer.load_state_dict(named)
    assert named == given, "the caller's dictionary is left alone"
    assert {key: value.tolist() for key, value in outer.state_dict().items()} == {
        key: value.tolist() for key, value in named.items()
    }
    bare.load_state_dict(adapter.state_dict())


def test_missing_weights_are_still_noticed(fpn_config: CfgNode) -> None:
    adapter = build_semantic_head(fpn_config, SHAPES)
    state = adapter.state_dict()
    del state["predictor.bias"]
    with pytest.raises(RuntimeError, match=r"Missing key.*predictor\.bias"):
        adapter.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*surplus"):
        adapter.load_state_dict({**build_semantic_head(fpn_config, SHAPES).state_dict(), "surplus": torch.zeros(1)})


def test_it_says_the_same_as_the_bare_head(fpn_config: CfgNode) -> None:
    adapter = build_semantic_head(fpn_config, SHAPES)
    assert isinstance(adapter, Detectron2Head)
    bare = adapter.head
    features = {f"p{i}": torch.randn(2, 32, 64 // 2**i, 96 // 2**i) for i in (2, 3, 4, 5)}
    targets = torch.randint(0, 5, (2, 64, 96))
    targets[0, :9] = 255
    assert torch.equal(adapter.eval()(features)[0], bare(features)[0])
    adapter.train()
    ours, theirs = adapter(features, targets)[1], bare(features, targets)[1]
    assert ours.keys() == theirs.keys() == {"loss_sem_seg"}
    assert torch.equal(ours["loss_sem_seg"], theirs["loss_sem_seg"])


def test_what_is_no_semantic_head_is_refused() -> None:
    with pytest.raises(TypeError, match="Linear is not a semantic head: it has no layers, losses"):
        Detectron2Head(nn.Linear(1, 1), 5)


def test_an_unknown_name_lists_the_known_ones(fpn_config: CfgNode) -> None:
    fpn_config.MODEL.SEM_SEG_HEAD.NAME = "ASPRefinmentHead"
    with pytest.raises(ValueError, match="no semantic head 'ASPRefinmentHead'; known: ") as error:
        build_semantic_head(fpn_config, SHAPES)
    assert all(name in str(error.value) for name in registered_heads())


def test_an_unknown_feature_lists_the_known_ones(fpn_config: CfgNode) -> None:
    fpn_config.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["p2", "res5"]
    with pytest.raises(ValueError, match="IN_FEATURES: the backbone has no res5; it has p2, p3, p4, p5"):
        build_semantic_head(fpn_config, SHAPES)


def test_a_head_that_looks_at_the_image_asks_for_our_model() -> None:
    from unified_seg.heads import SemanticHead

    class Looking(SemanticHead):
        needs_image = True

    head = Looking(num_classes=2, ignore_value=255, common_stride=4)
    with pytest.raises(ValueError, match=r"Looking looks at the input image.*UnifiedSegmentor"):
        head({"p2": torch.zeros(1, 1, 1, 1)})
