"""Config keys of PSPHead (Zhao et al., 2017)."""

from detectron2.config import CfgNode


def add_keys(head: CfgNode) -> None:
    """Add PSP to MODEL.SEM_SEG_HEAD; CONVS_DIM 512, NORM "SyncBN" and COMMON_STRIDE 8 are the paper's too."""
    head.PSP = CfgNode()
    node = head.PSP
    # Sides of the grids to which the coarsest feature is pooled; [] is the baseline, a dilated FCN.
    node.BINS = [1, 2, 3, 6]
    # "average", or "max" (0.4 to 0.9 points of mIoU worse in the paper, Table 1).
    node.POOL = "average"
    # A 1x1 convolution reduces each pooled map to 1/len(BINS) of the channels; off: they are concatenated unreduced.
    node.REDUCTION = True
    # Dropout before the classifiers; raise it for a small data set.
    node.DROPOUT = 0.1
    # The input of the auxiliary classifier, a feature before the last: "p4" for instance on an FPN.
    node.AUX_FEATURE = "res4"
    # Width of the auxiliary classifier, half of CONVS_DIM.
    node.AUX_CONVS_DIM = 256
    # 0 turns the auxiliary loss off; the paper tried 0.3 to 0.9 (Table 2).
    node.AUX_LOSS_WEIGHT = 0.4
