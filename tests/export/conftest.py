"""Networks of tiny models with random weights."""

from collections.abc import Callable

import pytest
import torch
from detectron2.config import CfgNode
from nested_heads import set_head
from tiny_predictors import make_panoptic, make_semantic

from unified_seg.data.resolve import resolve_config
from unified_seg.export.network import ExportableNetwork
from unified_seg.meta_arch import build_model


@pytest.fixture
def make_network(tiny_config: CfgNode) -> Callable[..., ExportableNetwork]:
    """Builds the network of a semantic model with these heads, or of a panoptic one."""

    def make(*heads: str, detector: bool = False) -> ExportableNetwork:
        cfg = set_head(make_panoptic(tiny_config) if detector else make_semantic(tiny_config), heads)
        torch.manual_seed(0)
        return ExportableNetwork(build_model(resolve_config(cfg)).eval())  # type: ignore[arg-type]

    return make
