"""Config keys of the confusion-weighted loss and ConfusionGroupHead (Geng et al., 2018)."""

from detectron2.config import CfgNode


def add_keys(head: CfgNode) -> None:
    """Add CONFUSION_LOSS, for any head, and CONFUSION_GROUPS to MODEL.SEM_SEG_HEAD."""
    head.CONFUSION_LOSS = CfgNode()
    # The sem_seg.npz of an evaluation, on images that are neither trained on nor used for the final score; with a
    # fusion sem_seg_unfused.npz, which is the head's own. The path is relative to the current folder. A pixel's loss
    # grows with the probability of the classes that its own class is confused with. Take the matrix of a model that
    # finds all classes: a class that was never found gets no weight. Empty: cross-entropy.
    head.CONFUSION_LOSS.MATRIX = ""
    # lambda, the weight of these classes. Lower it if a class is hardly found any more.
    head.CONFUSION_LOSS.LAMBDA = 5.0

    head.CONFUSION_GROUPS = CfgNode()
    node = head.CONFUSION_GROUPS
    # The base head, whose feature the subnets read and whose prediction they join, by its name in the registry.
    node.BASE = ""
    # One subnet for each group, a list of class names. tools/confusion_groups.py proposes groups, as a file for _BASE_.
    node.GROUPS = []
    # How predictions are joined: the "sum" or the "product" of probabilities. Choose it on held-out images.
    node.RULE = "product"
    # What a subnet contributes to the classes outside its group: "abstain", nothing; or "copy", its probability of
    # "others" to each of them, as in the paper: classes outside all groups then win uncertain pixels.
    node.OTHERS = "abstain"
    # Input pixels per pixel of the joint prediction; 0 = the stride of BASE. With RULE "sum" and OTHERS "copy" take 1,
    # which needs six times the memory of K x H x W numbers: a coarser stride loses thin objects and borders.
    node.STRIDE = 0
    # Width of a subnet. Narrower is faster.
    node.DIM = 128
    # 3x3 convolutions of a subnet, after one that reduces the feature to DIM.
    node.CONVS = 2
    # Norm of the subnets, a name of Detectron2; "" for none. GroupNorm removes the strength of an image's
    # feature, which the base head's classifier learned to read; take "SyncBN" if the network is pretrained with it.
    node.NORM = ""
