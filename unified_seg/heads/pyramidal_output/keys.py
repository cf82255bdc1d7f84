"""Config keys of PyramidalOutputHead (Hsiao et al., 2021)."""

from detectron2.config import CfgNode


def add_keys(head: CfgNode) -> None:
    """Add PYRAMID to MODEL.SEM_SEG_HEAD; CONVS_DIM 512 (D_s), NORM "SyncBN" and COMMON_STRIDE 4 are the paper's."""
    head.PYRAMID = CfgNode()
    node = head.PYRAMID
    # Strides of the levels, from coarse to fine; each a multiple of the next, the last one COMMON_STRIDE. [32, 4] is
    # nearly as good in the paper.
    node.STRIDES = [32, 16, 8, 4]
    # D_u, the width of the unity pyramid. Narrower is faster.
    node.UNITY_DIM = 64
    # "coarse_to_fine" (4.2), "none", or for comparison "anl" and "anl_multi" (Table 6).
    node.CONTEXT = "coarse_to_fine"
    # The cells that a level leaves to coarser ones in training: those inside unity-cells ("truth"), those inside
    # unity-cells that are also predicted as such ("true_positives"), or "none" (Table 7).
    node.RELABELLING = "true_positives"
    # A cell whose probability of holding one class is at least this is labeled as a whole. Lower it to label more
    # cells at coarse levels.
    node.THRESHOLD = 0.9
    # "pyramidal"; "finest": train the pyramid, predict by the finest level alone (Table 8); "single": no pyramid
    # (Table 6).
    node.OUTPUT = "pyramidal"
