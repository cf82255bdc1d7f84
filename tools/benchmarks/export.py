"""An exported model in onnxruntime against the same model in PyTorch, and against Detectron2's PanopticFPN in PyTorch.

The time is from the image to all final results. The exported model is a graph in onnxruntime, and the compiled loops of
unified_seg_runtime. All models have the same random weights in their common parts, and keep detections of any score, up
to the largest number in the config.
"""

import argparse
import atexit
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from detectron2.config import CfgNode

from unified_seg.checkpoint import write_checkpoint
from unified_seg.export import export_model
from unified_seg.export.exported_model import ExportedModel
from unified_seg.inference import Predictor
from unified_seg.inference.training_description import describe_training
from unified_seg_cli import ToolParser
from unified_seg_runtime import Predictor as RuntimePredictor

from .harness import Call, Comparison
from .infer import OVERRIDES, assert_equal_detections, infer, prepare_inference
from .inputs import toyscapes_batch
from .models import CONFIG, SEED, build_unified, read_config

SIZE = (256, 512)
# Images have the size of --size.
EXPORT_OVERRIDES = (*OVERRIDES, "INPUT.MIN_SIZE_TEST", "0")


def add_arguments(parser: ToolParser) -> None:
    parser.add_config_file("the config; default: %(default)s", type=Path, default=CONFIG)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparisons; raises ConfigError for a config without detector or semantic head."""
    cfg = read_config(args.config_file, "cpu", EXPORT_OVERRIDES)
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    exported = export(cfg, Path(folder.name), args.size)
    inputs = (
        f"a Toyscapes scene (standard, seed {SEED}), {args.size[0]}x{args.size[1]}, with {args.config_file.name}, "
        f"random weights and a score threshold of 0, so that up to {cfg.TEST.DETECTIONS_PER_IMAGE} detections are kept"
    )
    in_torch = partial(prepare_inference, args.config_file, "cpu", args.size)
    peers = {"UnifiedSegmentor in PyTorch": False, "Detectron2's PanopticFPN with SemSegFPNHead in PyTorch": True}
    return [
        Comparison(
            name=f"exported to ONNX, {cfg.MODEL.SEM_SEG_HEAD.NAME}, {cfg.MODEL.PANOPTIC_FUSION.NAME or 'no fusion'}",
            against=name,
            inputs=inputs,
            method=partial(prepare_exported, exported, cfg.INPUT.FORMAT, args.size, args.threads),
            peer=partial(in_torch, peer=is_peer),
            equal="the detector's classes, and its boxes and scores to 1e-3",
            assert_equal=assert_equal_detections,
        )
        for name, is_peer in peers.items()
    ]


def export(cfg: CfgNode, folder: Path, size: tuple[int, int]) -> Path:
    """Export the model of a config with the weights of `build_unified`; return its folder."""
    weights = folder / "model.pth"
    write_checkpoint(weights, {"model": build_unified(cfg).state_dict(), "trainer": describe_training(cfg)})
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(weights)
    (scene,) = toyscapes_batch(size, 1, SEED, "BGR")
    images = [("the scene", scene["image"].permute(1, 2, 0).numpy())]
    export_model(Predictor(cfg), cfg, folder / "exported", images)
    return folder / "exported"


def prepare_exported(folder: Path, channels: str, size: tuple[int, int], threads: int) -> Call:
    """Prepare inference of an exported model on a fixed image."""
    (scene,) = toyscapes_batch(size, 1, SEED, channels)
    model = ExportedModel(RuntimePredictor(folder, threads=threads))
    return partial(infer, model, [{key: scene[key] for key in ("image", "height", "width")}])
