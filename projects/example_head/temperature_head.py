"""Temperature scaling of any semantic head: a wrapper head outside the tree, with a key, scores and a picture.

Source: Guo et al., On Calibration of Modern Neural Networks (2017), sections 2 and 4.2.
"""

from typing import Any, ClassVar

import numpy as np
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor

from unified_seg.data.io.semantic_labels import SEMANTIC_FILES, read_semantic_ground_truth
from unified_seg.evaluation.base import PerImageEvaluator, Scores
from unified_seg.heads import EarlierPrediction, HeadInputs, SemanticHead, WrapperHead, WrapperPrediction
from unified_seg.visualization.canvas import to_canvas
from unified_seg.visualization.panels import Scene
from unified_seg.visualization.sheet import Picture

BINS = 10
MAPS = ("uncalibrated", "calibrated")


class CalibrationEvaluator(PerImageEvaluator[np.ndarray | None]):
    """Scores of "calibration", in percent: the expected calibration error (ECE) before and after the scaling."""

    ground_truth_files = SEMANTIC_FILES

    def score_image(self, record: dict[str, Any], output: Any) -> np.ndarray | None:
        maps = output.get("semantic_logit_maps", {})
        if not maps.keys() >= set(MAPS):  # in sliding windows or with several views
            return None
        ground_truth = read_semantic_ground_truth(record, self.table)
        valid, size = ground_truth != self.table.ignore_label, ground_truth.shape
        right = (maps["calibrated"].labels(size).cpu().numpy() == ground_truth)[valid]
        # For each map the sums of confidence minus accuracy in each bin, and the number of pixels.
        result = np.zeros((len(MAPS), BINS + 1))
        for sums, name in zip(result, MAPS):
            confidence = maps[name].confidence(size).cpu().numpy()[valid]
            bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
            sums[:BINS] = np.bincount(bins, confidence - right, minlength=BINS)
            sums[BINS] = len(right)
        return result

    def summarize(self, items: dict[Any, np.ndarray | None]) -> dict[str, Scores]:
        found = [item for item in items.values() if item is not None]
        if len(found) < len(items):
            return {}
        errors = [100 * np.abs(sums[:BINS]).sum() / sums[BINS] for sums in sum(found)]
        return {"calibration": {"ECE uncalibrated": errors[0], "ECE": errors[1]}}


def format_calibration(scores: Scores) -> str:
    return "expected calibration error, %: " + ", ".join(f"{name} {value:.2f}" for name, value in scores.items())


@SEM_SEG_HEADS_REGISTRY.register()
class TemperatureHead(WrapperHead):
    """Divides the logits of a base head by a constant, which changes its probabilities and no label."""

    config_node = "TEMPERATURE"
    own_parts = ()
    earlier_prediction = EarlierPrediction("uncalibrated", "temperature scaling")
    score_tables: ClassVar = {"calibration": format_calibration}

    @configurable
    def __init__(self, base: SemanticHead, *, temperature: float, loss_weight: float = 1.0):
        self.check(temperature > 0, "VALUE", f"must be above 0, got {temperature}")
        super().__init__(base, common_stride=base.common_stride, loss_weight=loss_weight)
        self.temperature = temperature

    @classmethod
    def add_config(cls, cfg: CfgNode) -> None:
        cfg.MODEL.SEM_SEG_HEAD.TEMPERATURE = CfgNode({"BASE": "", "VALUE": 1.5})

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        return {**cls.common_arguments(cfg, input_shape), "temperature": cfg.MODEL.SEM_SEG_HEAD.TEMPERATURE.VALUE}

    @classmethod
    def build_evaluators(cls, cfg: CfgNode, *data: Any) -> list[PerImageEvaluator]:
        return [CalibrationEvaluator(*data)]

    @classmethod
    def draw_pictures(cls, scene: Scene) -> list[Picture]:
        maps = scene.outputs.get("semantic_logit_maps", {})
        if "calibrated" not in maps:
            return []
        confidence = maps["calibrated"].confidence(scene.size).cpu().numpy()
        gray = np.rint(255 * confidence).astype(np.uint8)[:, :, None].repeat(3, axis=2)
        return [Picture(to_canvas(gray), f"confidence: {100 * confidence.mean():.1f} % on average")]

    def predict(self, inputs: HeadInputs) -> WrapperPrediction:
        base = self.base.predict(inputs)
        logits = base.logits / self.temperature
        return WrapperPrediction(logits, base=base, context=base.context, make_feature=base.make_feature)

    def logit_maps(self, prediction: WrapperPrediction) -> dict[str, Tensor]:
        return {**super().logit_maps(prediction), "calibrated": prediction.logits}
