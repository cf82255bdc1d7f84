"""BatchNorm whose statistics stay as the pretrained weights brought them while gamma and beta are learned.

Source: Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation, III.C. Detectron2's FrozenBatchNorm2d
freezes gamma and beta as well.
"""

from torch import nn


class FrozenStatisticsBatchNorm2d(nn.BatchNorm2d):
    """A BatchNorm2d that always normalizes with its running statistics and never updates them."""

    def train(self, mode: bool = True) -> "FrozenStatisticsBatchNorm2d":
        # Training mode is what would use and update the statistics of the batch; no call may bring it back.
        super().train(False)
        return self


def freeze_bn_statistics(module: nn.Module) -> int:
    """Replace every BatchNorm inside `module`, in place; parameters, buffers and their names stay the same.

    SyncBatchNorm too: what is not computed needs no synchronizing.

    Returns:
        How many were replaced.

    Raises:
        ValueError: there is none; the config asks for something that would have no effect.
    """
    count = _replace(module)
    if not count:
        raise ValueError(
            "MODEL.BACKBONE.FREEZE_BN_STATISTICS: the backbone has no BatchNorm2d; set MODEL.RESNETS.NORM to BN"
        )
    return count


def _replace(module: nn.Module) -> int:
    count = 0
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm2d, nn.SyncBatchNorm)):
            frozen = FrozenStatisticsBatchNorm2d(child.num_features, child.eps, child.momentum)
            frozen.load_state_dict(child.state_dict())
            for new, old in zip(frozen.parameters(), child.parameters()):
                new.requires_grad_(old.requires_grad)
            setattr(module, name, frozen.train())
            count += 1
        else:
            count += _replace(child)
    return count
