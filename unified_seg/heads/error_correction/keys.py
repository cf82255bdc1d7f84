"""Config keys of ErrorCorrectionHead (Gong et al., 2022)."""

from detectron2.config import CfgNode


def add_keys(head: CfgNode) -> None:
    """Add ERROR_CORRECTION to MODEL.SEM_SEG_HEAD; COMMON_STRIDE and the like are those of the base head."""
    head.ERROR_CORRECTION = CfgNode()
    node = head.ERROR_CORRECTION
    # The base head, whose errors are predicted and corrected, by its name in the registry.
    node.BASE = ""
    # The inputs of the detail branch, from coarse to fine, one decoder block each. Of an FPN: p4, p3, p2.
    node.DETAIL_FEATURES = ["res4", "res3", "res2"]
    # Width of the error branch, which the paper leaves open. Narrower is faster.
    node.ERROR_DIM = 64
    # Width of the detail branch; its weights take 11.6 MB in the paper, as with 128 channels on a ResNet-50.
    node.DETAIL_DIM = 128
    # Norm of both branches, a name of Detectron2. "" (none) if they train for a few thousand iterations only.
    node.NORM = "GN"
    # rho: an error whose class has a higher probability in the base head is a hard one; in [0, 1].
    node.HARD_CONFIDENCE = 0.95
    # Weight of hard errors in the error branch's loss; easy ones have 1. Raise it to find more of them, with more
    # false alarms.
    node.HARD_WEIGHT = 1.5
    # Error probability above which a pixel counts as wrong: the detail branch is trained there and replaces its label.
    node.THRESHOLD = 0.7
    # The pixels that count as wrong: "predicted" by the error branch, or for comparison "unsure", those where the base
    # head's confidence is at most HARD_CONFIDENCE (layer cascade).
    node.ERRORS = "predicted"
    # The pixels that the detail branch is trained on: "errors", or for comparison "all" or the "hardest" fifth.
    node.LEARN = "errors"
    # "corrected"; or for comparison, and before the detail branch is trained, "base", the base head's prediction;
    # "detail", the detail branch's everywhere; "average", the mean of the two.
    node.OUTPUT = "corrected"
