"""Compile what numba compiles, so that the first evaluation does not wait for it; `make setup` runs this module.

A small model with random weights is evaluated on two Toyscapes images.
"""

import tempfile
from pathlib import Path

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from toyscapes import generate
from unified_seg.config import CfgNode, get_config, merge_file
from unified_seg.data.datasets.cityscapes import register_cityscapes_like
from unified_seg.data.pipeline.loaders import build_test_loader
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation import build_evaluators
from unified_seg.inference.dataset_evaluation import evaluate_on_dataset
from unified_seg.meta_arch import build_model

DATASET = "unified_warm_up"
SIZE = (64, 128)


def warm_up(folder: Path) -> None:
    """Evaluate in a folder, which gets the images and results."""
    torch.manual_seed(0)
    generate(folder / "data", counts={"train": 0, "heldout": 0, "val": 2}, size=SIZE, workers=1)
    register_cityscapes_like(DATASET, folder / "data", "val")
    try:
        for form in ("compact", "detectron2"):
            cfg = make_config(folder / form, form)
            evaluators = build_evaluators(cfg, DATASET, str(folder / form))
            evaluate_on_dataset(build_model(cfg), build_test_loader(cfg, DATASET), evaluators, title="compiling")
    finally:
        DatasetCatalog.remove(DATASET)
        MetadataCatalog.remove(DATASET)


def make_config(output: Path, form: str) -> CfgNode:
    """Return the config of a slim model with outputs in a form of MODEL.UNIFIED.OUTPUT."""
    cfg = get_config()
    merge_file(cfg, "unified_seg://base/unified_fpn.yaml")
    merge_file(cfg, "unified_seg://base/slim_r18_128x256.yaml")
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (DATASET,)
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = SIZE
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.MODEL.PANOPTIC_FUSION.NAME = "EvidenceFusion" if form == "compact" else "SemanticGuidedFusion"
    cfg.MODEL.DEVICE, cfg.MODEL.UNIFIED.OUTPUT = "cpu", form
    # Random weights find something.
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.0
    cfg.OUTPUT_DIR = str(output)
    return resolve_config(cfg)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        warm_up(Path(temporary))
