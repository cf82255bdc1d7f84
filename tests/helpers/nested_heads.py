"""Each semantic head of the library, alone and in wrapper heads, as heads of a small model."""

from itertools import pairwise

from base_heads import BASES, NODES
from detectron2.config import CfgNode

# By name: the base head and, from the inside to the outside, the wrapper heads around it.
HEADS = {
    **{name: (name,) for name in BASES},
    "ErrorCorrectionHead": ("ASPRefinementHead", "ErrorCorrectionHead"),
    "ConfusionGroupHead": ("ASPRefinementHead", "ConfusionGroupHead"),
}
# As projects/everything.
EVERYTHING = ("ASPRefinementHead", "ConfusionGroupHead", "ErrorCorrectionHead")


def set_head(cfg: CfgNode, heads: tuple[str, ...]) -> CfgNode:
    """Change the semantic head of a config, in place, to wrapper heads around a base head."""
    node = cfg.MODEL.SEM_SEG_HEAD
    for key, value in BASES[heads[0]].items():
        cfg.merge_from_list([f"MODEL.SEM_SEG_HEAD.{key}", value])
    for base, wrapper in pairwise(heads):
        node[NODES[wrapper]].BASE = base
    node.NAME = heads[-1]
    node.CONFUSION_GROUPS.GROUPS = [["car", "truck"], ["person", "rider"]]
    node.ERROR_CORRECTION.DETAIL_FEATURES = ["p4", "p3", "p2"]
    return cfg
