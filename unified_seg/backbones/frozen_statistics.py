"""BatchNorm with the statistics of the pretrained weights and trainable gamma and beta.

Source: Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation (2018), section III.C. Detectron2's
FrozenBatchNorm2d freezes gamma and beta as well.
"""

from torch import Tensor, nn

from unified_seg.hints import format_hint


class FrozenStatisticsBatchNorm2d(nn.BatchNorm2d):
    """A BatchNorm2d that always normalizes with its running statistics and never updates them.

    Norms of timm may have an activation, `act`, which stays.
    """

    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        normalized = super().forward(input)
        return self.act(normalized) if hasattr(self, "act") else normalized

    def train(self, mode: bool = True) -> "FrozenStatisticsBatchNorm2d":
        # In training mode BatchNorm2d would use the statistics of the batch, and update its own.
        super().train(False)
        return self


def freeze_bn_statistics(module: nn.Module) -> int:
    """Replace every BatchNorm2d and SyncBatchNorm inside `module`, in place.

    Parameters, buffers and their names do not change.

    Returns:
        The number of replaced modules.

    Raises:
        ValueError: there is no BatchNorm, so the config key would have no effect.
    """
    count = _replace(module)
    if not count:
        raise ValueError(
            "MODEL.BACKBONE.FREEZE_BN_STATISTICS: the backbone has no BatchNorm2d; set "
            f"{format_hint('MODEL.RESNETS.NORM', 'BN')}"
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
            if isinstance(activation := getattr(child, "act", None), nn.Module):
                frozen.act = activation
            setattr(module, name, frozen.train())
            count += 1
        else:
            count += _replace(child)
    return count
