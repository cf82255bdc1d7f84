"""Config keys of DPCHead (Chen et al., 2018)."""

from detectron2.config import CfgNode


def add_keys(head: CfgNode) -> None:
    """Add DPC to MODEL.SEM_SEG_HEAD; CONVS_DIM 256 is the paper's."""
    head.DPC = CfgNode()
    node = head.DPC
    # Width of each of the cell's five branches. Narrower is faster.
    node.BRANCH_DIM = 256
    # Dropout before the classifier; raise it for a small data set.
    node.DROPOUT = 0.1
