"""Subnets for groups of classes that are confused with each other, around any semantic head.

Source: A Network Structure to Explicitly Reduce Confusion Errors, 3 and 3.3. N = images, K = classes, M = groups,
(h, w) = the logits of the head inside.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar, cast

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from unified_seg.heads.base import Features, Losses, SemanticHead, SemanticPrediction
from unified_seg.heads.base_head import learns, probe
from unified_seg.heads.confusion_groups.groups import (
    OTHERS,
    RULES,
    channels_of,
    group_confusion,
    group_targets,
    join,
    join_members,
    to_all_classes,
)
from unified_seg.heads.confusion_groups.loss import ConfusionWeightedLoss, configured_confusion
from unified_seg.heads.pixel_loss import PixelLoss
from unified_seg.heads.wrapper import WrapperHead
from unified_seg.layers.conv import conv_norm_relu, init_classifier
from unified_seg.ops.losses import mean_cross_entropy
from unified_seg.ops.resampling import upsample_to, upsample_to_size


class GroupSubnet(nn.Module):
    """Tells the classes of one group from each other and from all others.

    Args:
        in_channels: of the feature that it looks at.
        channels: (K,) int64, of the group; see `channels_of`.
        dim: width.
        convs: 3x3 convolutions after the 1x1 convolution that brings the feature to `dim`.
        norm: a name that Detectron2's `get_norm` knows, "" for none.
        pixel_loss: what it learns by.

    Raises:
        ValueError: a norm that is not known.
    """

    channels: Tensor

    def __init__(
        self, in_channels: int, channels: Tensor, dim: int, convs: int, *, norm: str = "", pixel_loss: PixelLoss
    ):
        super().__init__()
        # Saved with the weights, which mean nothing without it.
        self.register_buffer("channels", channels)
        self.pixel_loss = pixel_loss
        self.project = conv_norm_relu(in_channels, dim, 1, norm=norm)
        self.convs = nn.Sequential(*(conv_norm_relu(dim, dim, 3, norm=norm) for _ in range(convs)))
        self.classifier = init_classifier(nn.Conv2d(dim, int(channels.max()) + 1, 1))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: object, strict: bool, *lists: list[str]
    ) -> None:
        saved = state_dict.get(f"{prefix}channels")
        if saved is not None and not torch.equal(saved.to(self.channels), self.channels):
            *_, errors = lists
            errors.append(
                f"{prefix}channels: these weights are of a group of other classes than the config's, or of the same in "
                "another order (MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.GROUPS)"
            )
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, *lists)

    def forward(self, feature: Tensor) -> Tensor:
        """(N, C, h', w') -> logits (N, G + 1, h', w')."""
        return self.classifier(self.convs(self.project(feature)))

    def loss(self, logits: Tensor, targets: Tensor, ignore_value: int) -> Tensor:
        """A scalar; targets (N, H, W) int64, classes or `ignore_value`."""
        wanted = group_targets(targets, self.channels, ignore_value)
        return self.pixel_loss(upsample_to(logits.float(), like=targets), wanted, ignore_value)


@SEM_SEG_HEADS_REGISTRY.register()
class ConfusionGroupHead(WrapperHead):
    """The answer of the head inside, joined with those of one subnet for each group of classes.

    The subnets look at what the classifier of the head inside looks at, without its gradient, so that they don't change
    that head.

    Args:
        base: the head inside, the paper's subnet 0.
        input_shape: channels and stride of the backbone's features, those of `base` among them.
        groups: class ids of each group; a class may be in several, and counts once in each.
        rule: "product" or "sum": how answers are joined.
        others: what a subnet says of the classes outside its group: nothing ("abstain"), or as in the paper of each
            what it says of "others" ("copy").
        stride: input pixels per pixel of the joint answer, of which that of `base` is a multiple; 0: as of `base`.
        loss_weight: factor of the subnets' losses; `base` has its own.
        dim, convs, norm: of each GroupSubnet.
        confusion: (K, K), rows the ground truth: the subnets learn by the loss that it weights; None for cross-entropy.
        wrong_weight: lambda of that loss.

    Raises:
        ValueError: no group, an empty one, one of all classes or one twice, a value out of its range, or a head inside
            that gives no feature.
    """

    config_node: ClassVar[str] = "CONFUSION_GROUPS"
    own_parts: ClassVar[tuple[str, ...]] = ("subnets",)

    @configurable
    def __init__(
        self,
        base: SemanticHead,
        input_shape: dict[str, ShapeSpec],
        *,
        groups: Sequence[Sequence[int]],
        rule: str = "product",
        others: str = "abstain",
        stride: int = 0,
        loss_weight: float = 1.0,
        dim: int = 128,
        convs: int = 2,
        norm: str = "",
        confusion: Tensor | None = None,
        wrong_weight: float = 5.0,
    ):
        self.check(len(groups) > 0, "GROUPS", "there is no group; tools/confusion_groups.py proposes some")
        self.check(len(set(map(frozenset, groups))) == len(groups), "GROUPS", "two groups are of the same classes")
        self.check(rule in RULES, "RULE", f"{rule!r} is not one of {', '.join(RULES)}")
        self.check(others in OTHERS, "OTHERS", f"{others!r} is not one of {', '.join(OTHERS)}")
        self.check(dim >= 1, "DIM", f"must be 1 or more, got {dim}")
        self.check(convs >= 0, "CONVS", f"must be 0 or more, got {convs}")
        stride = stride or base.common_stride
        possible = 0 < stride <= base.common_stride and base.common_stride % stride == 0
        self.check(possible, "STRIDE", f"the head inside has stride {base.common_stride}, no multiple of {stride}")
        super().__init__(base, common_stride=stride, loss_weight=loss_weight)
        feature = probe(base, input_shape).feature
        self.check(feature is not None, "BASE", "the head inside gives no feature, which the subnets look at")
        assert feature is not None
        self.groups = groups
        self.rule = rule
        self.others = others
        self.subnets = nn.ModuleList()
        for number, group in enumerate(groups, 1):
            pixel_loss: PixelLoss = mean_cross_entropy
            try:
                channels = channels_of(group, base.num_classes)
                if confusion is not None:
                    pixel_loss = ConfusionWeightedLoss(group_confusion(confusion, channels), wrong_weight)
                subnet = GroupSubnet(feature.shape[1], channels, dim, convs, norm=norm, pixel_loss=pixel_loss)
            except ValueError as error:
                raise ValueError(f"MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS: group {number}: {error}") from None
            self.subnets.append(subnet)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        node = head.CONFUSION_GROUPS
        return {
            **cls.common_arguments(cfg, input_shape),
            "groups": [cls._ids_of(group, head.CLASS_NAMES) for group in node.GROUPS or []],
            "rule": node.RULE,
            "others": node.OTHERS,
            "stride": node.STRIDE,
            "dim": node.DIM,
            "convs": node.CONVS,
            "norm": node.NORM,
            "confusion": configured_confusion(cfg),
            "wrong_weight": head.CONFUSION_LOSS.LAMBDA,
        }

    def predict(self, features: Features) -> SemanticPrediction:
        """The prediction; its logits are logarithms of probabilities, without a gradient: no loss looks at them."""
        base = self.base.predict(features)
        assert base.feature is not None
        feature = base.feature.detach()
        auxiliary = {f"group_{number}": subnet(feature) for number, subnet in enumerate(self._subnets, 1)}
        return SemanticPrediction(
            self._join(base.logits, auxiliary),
            context=base.context,
            auxiliary=auxiliary,
            make_feature=base.make_feature,
            base=base,
        )

    @torch.no_grad()
    def _join(self, base_logits: Tensor, group_logits: Features) -> Tensor:
        """(N, K, h, w) logarithms of probabilities, at the wrapper's own stride."""
        finer = self.base.common_stride // self.common_stride
        size = [side * finer for side in base_logits.shape[-2:]]
        base = upsample_to_size(base_logits.float(), size).log_softmax(1)
        # One at a time: they may be of the input's size.
        answers = (upsample_to_size(logits.float(), size) for logits in group_logits.values())
        if self.others == "abstain":
            joint = join_members(base, zip(answers, self.groups, strict=True), self.rule)
        else:
            of_subnets = zip(answers, self._subnets, strict=True)
            copies = (to_all_classes(answer, subnet.channels) for answer, subnet in of_subnets)
            joint = join(chain([base], copies), self.rule)
        return joint.to(base_logits.dtype)

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        """The losses of the head inside, and "loss_group_<m>" of each subnet."""
        losses = super().losses(prediction, targets)
        for number, subnet in enumerate(self._subnets, 1):
            logits = prediction.auxiliary[f"group_{number}"]
            if learns(logits):
                loss = subnet.loss(logits, targets, self.ignore_value)
                losses[f"loss_group_{number}"] = loss * self.loss_weight
        return losses

    def logit_maps(self, prediction: SemanticPrediction) -> dict[str, Tensor]:
        """What the head inside gives, and "ungrouped", its logits."""
        assert prediction.base is not None
        return {**super().logit_maps(prediction), "ungrouped": prediction.base.logits}

    @property
    def _subnets(self) -> list[GroupSubnet]:
        return cast(list[GroupSubnet], list(self.subnets))

    @classmethod
    def _ids_of(cls, group: Sequence[str], class_names: Sequence[str]) -> list[int]:
        """The class ids of a group of names."""
        cls.check(isinstance(group, (list, tuple)), "GROUPS", f"a group is a list of class names, not {group!r}")
        known = ", ".join(class_names) or "unknown: they come from the data set, see resolve_dataset_classes"
        ids = []
        for name in map(str, group):
            cls.check(name in class_names, "GROUPS", f"there is no class {name!r}; the classes are {known}")
            cls.check(class_names.count(name) == 1, "GROUPS", f"{name!r} is the name of several classes")
            ids.append(class_names.index(name))
        return ids
