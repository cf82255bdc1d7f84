"""The network of a model as one graph: images in; logits, boxes, scores, classes and small masks out.

N = images, K = classes, (H, W) = the input, (h, w) = the logits.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.export.detector import ExportableDetector
from unified_seg.heads import HeadInputs
from unified_seg.meta_arch import UnifiedSegmentor

INPUT_NAMES = ("image", "size")


class ExportableNetwork(nn.Module):
    """What UnifiedSegmentor computes before results are brought to the size of the original image.

    Args:
        model: in inference mode; its parts are shared.

    Attributes:
        divisibility: padded inputs are multiples of it.
        output_names: of the results of `forward`.

    Raises:
        UnsupportedExportError: see `ExportableDetector`.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, model: UnifiedSegmentor):
        super().__init__()
        self.backbone = model.backbone
        self.sem_seg_head = model.sem_seg_head
        self.detector = None
        if model.proposal_generator is not None and model.roi_heads is not None:
            self.detector = ExportableDetector(model.proposal_generator, model.roi_heads)
        self.divisibility = model.size_divisibility
        self.register_buffer("pixel_mean", model.pixel_mean, persistent=False)
        self.register_buffer("pixel_std", model.pixel_std, persistent=False)
        self.output_names = ["logits"] if self.sem_seg_head is not None else []
        if self.detector is not None:
            self.output_names += ["boxes", "scores", "classes", "image_index"]
            self.output_names += ["masks"] if self.detector.has_masks else []
        self.eval()

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """Return the results in the order of `output_names`.

        Args:
            image: (N, C, H, W) uint8, in the order of channels and with the size that the model reads.
            size: (N, 2) int64, height and width of each image; what is to the right and below is padding.

        Returns:
            `logits` (N, K, h, w) float32 of the padded input; see `ExportableDetector` for the others.
        """
        height, width = image.shape[-2:]
        valid = _mask(size, height, width)
        # As ImageList pads: zeros after the normalization.
        image = (image.float() - self.pixel_mean) / self.pixel_std * valid
        # As multiples, which exporters recognize in all sizes that follow.
        step = self.divisibility
        missing = [(side + step - 1) // step * step - side for side in (width, height)]
        pads = (0, missing[0], 0, missing[1])
        image, valid = F.pad(image, pads), F.pad(valid, pads)
        features = self.backbone(image)
        results: dict[str, Tensor] = {}
        if self.sem_seg_head is not None:
            results["logits"] = self.sem_seg_head.predict(HeadInputs(features, image, valid > 0)).logits.float()
        if self.detector is not None:
            results |= self.detector(features, size)
        return tuple(results[name] for name in self.output_names)


def _mask(size: Tensor, height: int, width: int) -> Tensor:
    """Return (N, 1, H, W) float32: 1 in the images, 0 in their padding."""
    rows = torch.arange(height, device=size.device) < size[:, :1]
    columns = torch.arange(width, device=size.device) < size[:, 1:]
    return (rows[:, None, :, None] & columns[:, None, None]).float()
