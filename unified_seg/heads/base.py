"""The interface of a semantic head: methods to implement, optional declarations, and shared behavior.

N = images, K = classes, (h, w) = the map at the head's own stride, (H, W) = the padded input.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.errors import UserError
from unified_seg.evaluation.base import PerImageEvaluator, Record, Scores
from unified_seg.heads.inputs import Features, HeadInputs
from unified_seg.heads.pixel_loss import PixelLoss
from unified_seg.ops.losses import mean_cross_entropy
from unified_seg.ops.resampling import upsample_to
from unified_seg.structures.class_table import ClassTable

if TYPE_CHECKING:  # drawing imports matplotlib
    from unified_seg.visualization.panels import Scene
    from unified_seg.visualization.sheet import Picture

Losses = dict[str, Tensor]


@dataclass
class SemanticPrediction:
    """The prediction of a head for a batch.

    Attributes:
        logits: (N, K, h, w) at the head's own stride, not upsampled.
        context: (N, C', h', w'), the high-level feature (ASP's coarsest level, the output of PSP or DeepLab).
        auxiliary: further maps by name, for the head's own losses and for pictures.
        make_feature: computes `feature`, which is large and seldom needed; None if the head has no such feature.
    """

    logits: Tensor
    context: Tensor | None = None
    auxiliary: Features = field(default_factory=dict)
    make_feature: Callable[[], Tensor] | None = None

    @cached_property
    def feature(self) -> Tensor | None:
        """(N, C, h, w), the fine feature that the classifier reads."""
        return None if self.make_feature is None else self.make_feature()


class EarlierPrediction(NamedTuple):
    """The prediction from before a wrapper's own step.

    Attributes:
        name: of its map in `logit_maps`; the scores of "sem_seg_<name>" are those of this prediction.
        step: what the wrapper does to it, for captions: "before <step>", "after <step>".
    """

    name: str
    step: str


class MissingTargetsError(UserError, ValueError):
    """A head is trained on images without semantic labels."""


Prediction = TypeVar("Prediction", bound=SemanticPrediction)


class SemanticHead(nn.Module, Generic[Prediction]):
    """Base of the semantic heads.

    A head implements `predict` and, if its loss is not cross-entropy on its logits alone, `losses`. `forward` keeps
    Detectron2's contract on top of the two, so a head also runs in Detectron2's PanopticFPN and SemanticSegmentor. The
    class declares its config keys, evaluators and pictures. The rest of the library reads these declarations
    (`unified_seg.config.heads`) and names no head.

    Args:
        num_classes: K.
        ignore_value: the label of pixels that no loss counts.
        common_stride: input pixels per pixel of the logits.
        loss_weight: factor of every term of `losses`.

    Attributes:
        size_divisibility: the height and width of the padded input must be multiples of it.
        pixel_loss: compares logits with targets in `losses`; cross-entropy, unless `build_semantic_head` replaces it.
        context_channels: C' of the prediction's `context`; 0 if there is none.
        feature_channels: C of the prediction's `feature`; 0 if there is none.
    """

    #: Whether `losses` calls `pixel_loss`; most wrappers leave that to their base head.
    uses_pixel_loss: ClassVar[bool] = True
    #: Whether the head is built around another one.
    is_wrapper: ClassVar[bool] = False
    #: The node below MODEL.SEM_SEG_HEAD with the head's own keys.
    config_node: ClassVar[str] = ""
    #: Keys that only training reads; a model that only predicts is built with their defaults.
    training_keys: ClassVar[Sequence[str]] = ()
    #: The prediction that is shown and scored beside that of a wrapper.
    earlier_prediction: ClassVar[EarlierPrediction | None] = None
    #: By task of the head's own evaluators: formats the task's scores, metric -> percent, as a titled text table.
    score_tables: ClassVar[Mapping[str, Callable[[Scores], str]]] = {}
    #: Scores of the head's own evaluators that an ablation can report: (task, metric, caption of the column) by name.
    ablation_metrics: ClassVar[Mapping[str, tuple[str, str, str]]] = {}

    def __init__(self, *, num_classes: int, ignore_value: int, common_stride: int, loss_weight: float = 1.0):
        super().__init__()
        self.num_classes = num_classes
        self.ignore_value = ignore_value
        self.common_stride = common_stride
        self.size_divisibility = common_stride
        self.loss_weight = loss_weight
        self.pixel_loss: PixelLoss = mean_cross_entropy
        self.context_channels = 0
        self.feature_channels = 0

    @classmethod
    def add_config(cls, cfg: CfgNode) -> None:
        """Add the head's own keys, with their defaults, to a config."""

    @classmethod
    def base_name(cls, cfg: CfgNode) -> str:
        """Return the name of the base head that the config gives a wrapper; "" for other heads."""
        return ""

    @classmethod
    def build_evaluators(
        cls, cfg: CfgNode, table: ClassTable, records: Sequence[Record], output_folder: Path
    ) -> list[PerImageEvaluator]:
        """Build the evaluators of outputs that only this head has, for a data set with semantic ground truth."""
        return []

    @classmethod
    def draw_pictures(cls, scene: "Scene") -> "list[Picture]":
        """Draw outputs that only this head has, as pictures beside the others; [] if there are none."""
        return []

    @classmethod
    def draw_sheet(cls, scene: "Scene", columns: int) -> np.ndarray | None:
        """Draw outputs that only this head has, as a sheet below all pictures; None if there are none."""
        return None

    def predict(self, inputs: HeadInputs) -> Prediction:
        """Return the prediction for a batch; the same in training and in inference."""
        raise NotImplementedError

    def losses(self, prediction: Prediction, targets: Tensor) -> Losses:
        """Return the weighted loss terms, each named `loss_*`.

        Args:
            prediction: of `predict`.
            targets: (N, H, W) int64, semantic ids or `ignore_value`.
        """
        logits = upsample_to(prediction.logits.float(), like=targets)
        loss = self.pixel_loss(logits, targets, self.ignore_value)
        return {"loss_sem_seg": loss * self.loss_weight}

    def describe(self, prediction: Prediction) -> dict[str, Tensor]:
        """Return maps that explain the prediction, by name, for pictures and analysis; most heads have none.

        UnifiedSegmentor puts them into `semantic_maps` of each image, so they should be small and cheap.

        Returns:
            (N, H / s, W / s) each, of any type and with any stride s.
        """
        return {}

    def logit_maps(self, prediction: Prediction) -> dict[str, Tensor]:
        """Return further logits, by name, for pictures and analysis; most heads have none.

        UnifiedSegmentor puts them into `semantic_logit_maps` of each image, to be read at any size.

        Returns:
            (N, C, H / s, W / s) each, with any number of channels C and any stride s.
        """
        return {}

    def training_order(self) -> list[str]:
        """Return the paths of the modules in the order in which they must be trained; "" is the head itself.

        A module that is trained on the prediction of another comes after it: a wrapper lists the modules of its base
        head, each as `base.<path>`, and then its own.
        """
        return [""]

    def upsample(self, logits: Tensor) -> Tensor:
        """(N, K, h, w) -> (N, K, h * stride, w * stride), bilinear, in float32."""
        return F.interpolate(logits.float(), scale_factor=self.common_stride, mode="bilinear", align_corners=False)

    def forward(self, features: Features, targets: Tensor | None = None) -> tuple[Tensor | None, Losses]:
        """Detectron2's contract: (None, losses) in training, (logits at the input's size, {}) in inference."""
        prediction = self.predict(HeadInputs(features))
        if self.training:
            if targets is None:
                raise MissingTargetsError(
                    f"{type(self).__name__} needs targets in training, but the batch has no `sem_seg`: Detectron2's "
                    "mapper reads no panoptic PNGs; use `unified_seg.data.pipeline.loaders.build_train_loader`, as "
                    "docs/python.md shows"
                )
            return None, self.losses(prediction, targets)
        return self.upsample(prediction.logits), {}

    def rename_older_keys(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Rename the entries of a state dict, in place, as the modules are nested here.

        Files of older versions name the weights of a base head as if there were no wrapper; files of a base head alone
        and of the same heads in another order load too.

        Args:
            state_dict: the weights, by name.
            prefix: of the names of this head, with its dot.
        """
        if "base" in self._modules and not self.is_wrapper:
            return
        for key in [key for key in state_dict if key.startswith(prefix)]:
            name = key.removeprefix(prefix)
            while name.startswith("base."):
                name = name.removeprefix("base.")
            if (new := prefix + self.nested_name(name)) != key:
                state_dict[new] = state_dict.pop(key)

    def nested_name(self, name: str) -> str:
        """Return the path, within this head, of a parameter that is named as if there were no wrapper."""
        return name

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        self.rename_older_keys(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def needs_loss(logits: Tensor) -> bool:
    """Return whether a loss of these logits trains something; without gradients all losses are measured."""
    return logits.requires_grad or not torch.is_grad_enabled()
