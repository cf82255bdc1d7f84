"""The form of a graph: which a model can have, and its description for the runtime."""

from dataclasses import asdict, dataclass
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from unified_seg.data.io.image_reader import ImageReader
from unified_seg.export.errors import UnsupportedExportError
from unified_seg.export.graphs import SUFFIXES, find_smallest_side
from unified_seg.export.network import ExportableNetwork
from unified_seg.export.precision import PRECISIONS
from unified_seg.fusion import EvidenceFusion, ScoreOrderFusion, SemanticGuidedFusion
from unified_seg.meta_arch import UnifiedSegmentor
from unified_seg_runtime import Description

# Values of INPUT.FORMAT that the runtime makes of pictures, or takes as they are.
CHANNELS = ("BGR", "RGB", "L", "RGBA", "BANDS")


@dataclass(frozen=True)
class GraphForm:
    """The form of a graph.

    Attributes:
        format: "onnx", "torch_export" or "torchscript".
        size: height and width of the input, multiples of the model's stride; None: open.
        batch: images of an input.
        precision: "float32", or with ONNX "float16" or "int8".
    """

    format: str = "onnx"
    size: tuple[int, int] | None = None
    batch: int = 1
    precision: str = "float32"


def check_model(model: nn.Module) -> UnifiedSegmentor:
    """Return the model, if its predictions come from one pass of a network.

    Raises:
        UnsupportedExportError: another model, sliding windows, or a fusion that the runtime does not have.
    """
    if not isinstance(model, UnifiedSegmentor):
        raise UnsupportedExportError(
            f"{type(model).__name__} can't be exported, only UnifiedSegmentor; set TEST.AUG.ENABLED to False"
        )
    if model.windows is not None:
        raise UnsupportedExportError("TEST.WINDOW.SIZE: sliding windows can't be exported; set it to 0")
    if model.panoptic_fusion is not None and type(model.panoptic_fusion) not in FUSION_OPTIONS:
        raise UnsupportedExportError(
            f"MODEL.PANOPTIC_FUSION.NAME: {type(model.panoptic_fusion).__name__} is not in unified_seg_runtime"
        )
    return model


def check_form(model: UnifiedSegmentor, cfg: CfgNode, form: GraphForm) -> None:
    """Raise UnsupportedExportError for a form of the graph, or of the input, that can't be exported."""
    if form.format not in SUFFIXES:
        raise UnsupportedExportError(f"--format: unknown format {form.format!r}; known: {', '.join(SUFFIXES)}")
    stride, size = model.size_divisibility, form.size
    if size is not None and any(side % stride for side in size):
        nearest = "x".join(str(max(-(-side // stride), 1) * stride) for side in size)
        raise UnsupportedExportError(
            f"--size {size[0]}x{size[1]}: both sides must be multiples of {stride}, the stride of the network; use "
            f"{nearest}"
        )
    if cfg.INPUT.FORMAT not in CHANNELS:
        raise UnsupportedExportError(f"INPUT.FORMAT {cfg.INPUT.FORMAT} can't be exported, only {', '.join(CHANNELS)}")
    if form.precision not in PRECISIONS:
        raise UnsupportedExportError(
            f"--precision: unknown precision {form.precision!r}; known: {', '.join(PRECISIONS)}"
        )
    if form.precision != "float32" and form.format != "onnx":
        raise UnsupportedExportError(f"--precision {form.precision}: only --format onnx has it, got {form.format}")


def _get_score_options(fusion: Any) -> dict[str, Any]:
    return {name: getattr(fusion, name) for name in ("score_threshold", "overlap_threshold", "stuff_area_limit")}


def _get_guided_options(fusion: Any) -> dict[str, Any]:
    return asdict(fusion.options)


FUSION_OPTIONS = {
    ScoreOrderFusion: _get_score_options,
    SemanticGuidedFusion: _get_guided_options,
    EvidenceFusion: _get_guided_options,
}


def describe(model: UnifiedSegmentor, network: ExportableNetwork, cfg: CfgNode, form: GraphForm) -> Description:
    """Return what the graph of a model needs and predicts."""
    fusion = model.panoptic_fusion
    return Description(
        format=form.format,
        graph=f"network{SUFFIXES[form.format]}",
        precision=form.precision,
        channels=cfg.INPUT.FORMAT,
        num_channels=len(cfg.MODEL.PIXEL_MEAN),
        percentiles=ImageReader.from_config(cfg).percentiles,
        min_size=cfg.INPUT.MIN_SIZE_TEST,
        max_size=cfg.INPUT.MAX_SIZE_TEST,
        size=form.size,
        smallest=find_smallest_side(network) if form.format == "torch_export" else 1,
        batch=form.batch,
        outputs=list(network.output_names),
        stride=model.sem_seg_head.common_stride if model.sem_seg_head is not None else 0,
        classes=[asdict(each) for each in model.class_table.classes],
        ignore_label=model.class_table.ignore_label,
        fusion=type(fusion).__name__ if fusion is not None else "",
        fusion_options=FUSION_OPTIONS[type(fusion)](fusion) if fusion is not None else {},
    )
