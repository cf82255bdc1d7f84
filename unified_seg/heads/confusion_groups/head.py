"""Subnets for groups of classes that the base head confuses with each other.

Source: Geng et al., A Network Structure to Explicitly Reduce Confusion Errors in Semantic Segmentation (2018),
sections 3 and 3.3. N = images, K = classes, M = groups, (h, w) = the logits of the base head.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar, cast

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from unified_seg.heads.base import EarlierPrediction, Losses, SemanticHead, needs_loss
from unified_seg.heads.confusion_groups.groups import (
    OTHERS,
    RULES,
    assign_channels,
    join,
    join_members,
    map_targets,
    merge_confusion,
    to_all_classes,
)
from unified_seg.heads.confusion_groups.keys import add_keys
from unified_seg.heads.confusion_groups.loss import ConfusionWeightedLoss, read_configured_confusion
from unified_seg.heads.inputs import Features, HeadInputs
from unified_seg.heads.options import check_choice
from unified_seg.heads.pixel_loss import PixelLoss
from unified_seg.heads.wrapper import WrapperHead, WrapperPrediction
from unified_seg.layers.conv import conv_norm_relu, init_classifier
from unified_seg.ops.losses import mean_cross_entropy
from unified_seg.ops.resampling import upsample_to, upsample_to_size


class GroupSubnet(nn.Module):
    """A classifier of the classes of one group and of "others".

    Args:
        in_channels: of the feature that it reads.
        channels: (K,) int64, of the group; see `assign_channels`.
        dim: width.
        convs: 3x3 convolutions after the 1x1 convolution that brings the feature to `dim`.
        norm: name of a norm for Detectron2's `get_norm`, "" for none.
        pixel_loss: compares its logits with its targets.

    Raises:
        ValueError: an unknown norm.
    """

    channels: Tensor

    def __init__(
        self, in_channels: int, channels: Tensor, dim: int, convs: int, *, norm: str = "", pixel_loss: PixelLoss
    ):
        super().__init__()
        # Saved with the weights, which have no meaning without it.
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
                f"{prefix}channels: the weights were trained for other classes, or for the same in another order, than "
                "MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.GROUPS"
            )
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, *lists)

    def forward(self, feature: Tensor) -> Tensor:
        """(N, C, h', w') -> logits (N, G + 1, h', w')."""
        return self.classifier(self.convs(self.project(feature)))

    def loss(self, logits: Tensor, targets: Tensor, ignore_value: int) -> Tensor:
        """Return the loss, a scalar; targets (N, H, W) int64, classes or `ignore_value`."""
        own_targets = map_targets(targets, self.channels, ignore_value)
        return self.pixel_loss(upsample_to(logits.float(), like=targets), own_targets, ignore_value)


@SEM_SEG_HEADS_REGISTRY.register()
class ConfusionGroupHead(WrapperHead):
    """A base head whose prediction is joined with those of one subnet for each group of classes.

    The subnets read the feature that the classifier of the base head reads, without its gradient, so that they don't
    change the base head.

    Args:
        base: the base head, the paper's subnet 0; it must have a feature.
        groups: class ids of each group; a class may be in several, and counts once in each.
        rule: "product" or "sum" of probabilities: how predictions are joined.
        others: what a subnet contributes to the classes outside its group: nothing ("abstain"), or its probability of
            "others" to each of them, as in the paper ("copy").
        stride: input pixels per pixel of the joint prediction, a divisor of the stride of `base`; 0: that of `base`.
        loss_weight: factor of the subnets' losses; `base` has its own.
        dim, convs, norm: of each GroupSubnet.
        confusion: (K, K), rows the ground truth: weights the subnets' loss; None for cross-entropy.
        wrong_weight: lambda of that loss.

    Raises:
        ValueError: no group, an empty or repeated group, a group of all classes, a value out of its range, or a base
            head without a feature.
    """

    config_node: ClassVar[str] = "CONFUSION_GROUPS"
    own_parts: ClassVar[tuple[str, ...]] = ("subnets",)
    training_keys: ClassVar[Sequence[str]] = ("MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX",)
    earlier_prediction = EarlierPrediction("ungrouped", "subnets")

    @configurable
    def __init__(
        self,
        base: SemanticHead,
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
        self.check(len(groups) > 0, "GROUPS", "is empty; `unified-seg groups` proposes groups")
        self.check(len(set(map(frozenset, groups))) == len(groups), "GROUPS", "two groups have the same classes")
        check_choice("CONFUSION_GROUPS.RULE", rule, RULES)
        check_choice("CONFUSION_GROUPS.OTHERS", others, OTHERS)
        self.check(dim >= 1, "DIM", f"must be 1 or more, got {dim}")
        self.check(convs >= 0, "CONVS", f"must be 0 or more, got {convs}")
        stride = stride or base.common_stride
        possible = 0 < stride <= base.common_stride and base.common_stride % stride == 0
        self.check(possible, "STRIDE", f"must divide the base head's stride, {base.common_stride}, got {stride}")
        super().__init__(base, common_stride=stride, loss_weight=loss_weight)
        width = base.feature_channels
        self.check(width > 0, "BASE", f"{type(base).__name__} has no feature, which the subnets need")
        self.groups = groups
        self.rule = rule
        self.others = others
        self.subnets = nn.ModuleList()
        for number, group in enumerate(groups, 1):
            pixel_loss: PixelLoss = mean_cross_entropy
            try:
                channels = assign_channels(group, base.num_classes)
                if confusion is not None:
                    pixel_loss = ConfusionWeightedLoss(merge_confusion(confusion, channels), wrong_weight)
                subnet = GroupSubnet(width, channels, dim, convs, norm=norm, pixel_loss=pixel_loss)
            except ValueError as error:
                raise ValueError(f"MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS: group {number}: {error}") from None
            self.subnets.append(subnet)

    @classmethod
    def add_config(cls, cfg: CfgNode) -> None:
        add_keys(cfg.MODEL.SEM_SEG_HEAD)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        node = head.CONFUSION_GROUPS
        return {
            **cls.common_arguments(cfg, input_shape),
            "groups": [cls._class_ids(group, head.CLASS_NAMES) for group in node.GROUPS or []],
            "rule": node.RULE,
            "others": node.OTHERS,
            "stride": node.STRIDE,
            "dim": node.DIM,
            "convs": node.CONVS,
            "norm": node.NORM,
            "confusion": read_configured_confusion(cfg),
            "wrong_weight": head.CONFUSION_LOSS.LAMBDA,
        }

    def predict(self, inputs: HeadInputs) -> WrapperPrediction:
        """Return the prediction; its logits are logarithms of probabilities, without a gradient: no loss reads them."""
        base = self.base.predict(inputs)
        assert base.feature is not None
        feature = base.feature.detach()
        auxiliary = {f"group_{number}": subnet(feature) for number, subnet in enumerate(self._subnets, 1)}
        return WrapperPrediction(
            self._join(base.logits, auxiliary),
            context=base.context,
            auxiliary=auxiliary,
            make_feature=base.make_feature,
            base=base,
        )

    @torch.no_grad()
    def _join(self, base_logits: Tensor, group_logits: Features) -> Tensor:
        """Return (N, K, h, w) logarithms of probabilities, at the wrapper's own stride."""
        finer = self.base.common_stride // self.common_stride
        size = [side * finer for side in base_logits.shape[-2:]]
        base = upsample_to_size(base_logits.float(), size).log_softmax(1)
        # One at a time: they may have the input's size.
        predictions = (upsample_to_size(logits.float(), size) for logits in group_logits.values())
        if self.others == "abstain":
            joint = join_members(base, zip(predictions, self.groups, strict=True), self.rule)
        else:
            of_subnets = zip(predictions, self._subnets, strict=True)
            copies = (to_all_classes(logits, subnet.channels) for logits, subnet in of_subnets)
            joint = join(chain([base], copies), self.rule)
        return joint.to(base_logits.dtype)

    def losses(self, prediction: WrapperPrediction, targets: Tensor) -> Losses:
        """Return the losses of the base head, and "loss_group_<m>" of each subnet."""
        losses = super().losses(prediction, targets)
        for number, subnet in enumerate(self._subnets, 1):
            logits = prediction.auxiliary[f"group_{number}"]
            if needs_loss(logits):
                loss = subnet.loss(logits, targets, self.ignore_value)
                losses[f"loss_group_{number}"] = loss * self.loss_weight
        return losses

    @property
    def _subnets(self) -> list[GroupSubnet]:
        return cast(list[GroupSubnet], list(self.subnets))

    @classmethod
    def _class_ids(cls, group: Sequence[str], class_names: Sequence[str]) -> list[int]:
        """Return the class ids of a group of names."""
        cls.check(isinstance(group, (list, tuple)), "GROUPS", f"a group must be a list of class names, got {group!r}")
        known = ", ".join(class_names) or "unknown until the config is resolved with its data set"
        ids = []
        for name in map(str, group):
            cls.check(name in class_names, "GROUPS", f"unknown class {name!r}; the classes are {known}")
            cls.check(class_names.count(name) == 1, "GROUPS", f"{name!r} is the name of several classes")
            ids.append(class_names.index(name))
        return ids
