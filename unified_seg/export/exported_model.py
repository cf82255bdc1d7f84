"""An exported model in place of a model, for evaluators."""

from typing import Any

import torch
from detectron2.structures import Boxes, Instances
from torch import nn

from unified_seg.structures.box_masks import BoxMasks
from unified_seg_runtime import Instances as FoundInstances
from unified_seg_runtime import Prediction, Predictor
from unified_seg_runtime.images import make_batch
from unified_seg_runtime.postprocessing import finish


class ExportedModel(nn.Module):
    """A module with the inputs and the compact outputs of UnifiedSegmentor in inference.

    Args:
        predictor: of an exported model.
    """

    def __init__(self, predictor: Predictor):
        super().__init__()
        self.predictor = predictor

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the outputs of each image, see `UnifiedSegmentor.forward`; one image after the other."""
        return [self._predict(each) for each in batched_inputs]

    def _predict(self, x: dict[str, Any]) -> dict[str, Any]:
        image = x["image"].permute(1, 2, 0).numpy()
        input_size = (image.shape[0], image.shape[1])
        output_size = (x.get("height", input_size[0]), x.get("width", input_size[1]))
        form = self.predictor.form
        results = self.predictor.network(*make_batch([image], form))
        return to_outputs(finish(results, 0, input_size, output_size, form, self.predictor.classes), output_size)


def to_outputs(prediction: Prediction, image_size: tuple[int, int]) -> dict[str, Any]:
    """Return a prediction as compact outputs."""
    outputs: dict[str, Any] = {}
    if prediction.labels is not None:
        outputs["sem_seg_labels"] = torch.from_numpy(prediction.labels)
    if prediction.instances is not None:
        outputs["instances"] = _to_instances(prediction.instances, image_size)
    if prediction.panoptic_ids is not None:
        outputs["panoptic_seg"] = (torch.from_numpy(prediction.panoptic_ids), prediction.segments_info)
    if prediction.unfused is not None:
        outputs["unfused"] = to_outputs(prediction.unfused, image_size)
    return outputs


def _to_instances(found: FoundInstances, image_size: tuple[int, int]) -> Instances:
    fields: dict[str, Any] = {
        "pred_boxes": Boxes(torch.from_numpy(found.boxes)),
        "scores": torch.from_numpy(found.scores),
        "pred_classes": torch.from_numpy(found.classes),
    }
    if found.masks is not None:
        planes = [torch.from_numpy(plane) for plane in found.masks.planes]
        fields["pred_masks"] = BoxMasks(torch.from_numpy(found.masks.windows), planes, image_size)
    return Instances(image_size, **fields)
