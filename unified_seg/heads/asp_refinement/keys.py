"""Config keys of ASPRefinementHead (Costea et al., 2018, III.B)."""

from detectron2.config import CfgNode


def add_keys(head: CfgNode) -> None:
    """Add ASP_REFINEMENT to MODEL.SEM_SEG_HEAD; CONVS_DIM 128, NORM "GN" and COMMON_STRIDE 4 are the paper's too."""
    head.ASP_REFINEMENT = CfgNode()
    node = head.ASP_REFINEMENT
    # Atrous spatial pyramid on the two coarsest levels; off: two 3x3 convolutions there, as on the other levels (the
    # paper's baseline).
    node.ASP = True
    # Dilation of the three 3x3 branches. At small inputs most taps of the coarsest level fall outside the map
    # (128x256 gives it 4x8 cells): scale the rates down with the input.
    node.RATES = [6, 12, 18]
    # Width of each branch; the paper leaves it open. Narrower is faster.
    node.BRANCH_DIM = 128
    # Refinement pyramid: each level adds to the sum of the coarser ones; off: levels are only concatenated.
    node.REFINEMENT = True
