"""Write the table of parameters, activations and computed training times into docs/questions.md: some minutes.

    python docs/training_cost.py

A forward pass of each model on a random image of the largest training size is counted, as tools/analyze_model.py does.
Memory and hours are computed from the counts, not measured; the hours are scaled from those that Detectron2 publishes.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
from tabulate import tabulate

from unified_seg import load_config
from unified_seg.commands.analyze_model import count_by_module
from unified_seg.data.resolve import resolve_config
from unified_seg.reporting.readme import replace_table

ROOT = Path(__file__).resolve().parent.parent
COCO = "configs/coco/unified_r50_1x.yaml"
CONFIGS = (
    COCO,
    "configs/ade20k/unified_r50.yaml",
    "projects/fusion_scheme/configs/cityscapes_r50.yaml",
    "projects/pspnet/configs/cityscapes_r101.yaml",
    "projects/pspnet/configs/ade20k_r50.yaml",
)
# Detectron2's Panoptic FPN R50 1x, by its model zoo: seconds a step, on 8 V100 with 2 images each.
PANOPTIC_FPN = ["MODEL.SEM_SEG_HEAD.NAME", "SemSegFPNHead"]
STEP_SECONDS = 0.304
STEP_IMAGES = 16
GPUS = 8
# Weight, gradient and momentum of a trained parameter; one activation.
PARAMETER_BYTES = 12
ACTIVATION_BYTES = 4


class Cost(NamedTuple):
    """The size of a model, and of its forward pass on one image (H, W)."""

    size: tuple[int, int]
    parameters: int
    multiply_adds: float
    activations: float


def main() -> None:
    reference = count_cost(read_config(COCO, PANOPTIC_FPN))
    rows = [["Detectron2's Panoptic FPN R50 1x", *make_row(reference, read_config(COCO, PANOPTIC_FPN), reference)]]
    for path in CONFIGS:
        cfg = read_config(path)
        rows.append([f"[{path}](../{path})", *make_row(count_cost(cfg), cfg, reference)])
    headers = ["config", "image", "parameters, M", "multiply-adds, G", "activations, M"]
    headers += ["images a step", "steps", "GB a GPU, at least", "hours on 8 GPUs"]
    table = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
    replace_table(ROOT / "docs/questions.md", "training-cost", table)


def read_config(path: str, overrides: list[str] | None = None) -> CfgNode:
    # Counting needs neither weights nor a GPU, and a training has no fusion.
    fixed = ["MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu", "MODEL.PANOPTIC_FUSION.NAME", ""]
    return resolve_config(load_config(ROOT / path, [*fixed, *(overrides or [])]))


def count_cost(cfg: CfgNode) -> Cost:
    """Count for one image of the largest training size."""
    model = build_model(cfg).eval()
    height, width = get_training_size(cfg)
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    multiply_adds, activations = (
        float(count_by_module(model, [image], counter, 1)[0, -1])
        for counter in (FlopCountAnalysis, ActivationCountAnalysis)
    )
    return Cost((height, width), sum(p.numel() for p in model.parameters()), multiply_adds, activations)


def get_training_size(cfg: CfgNode) -> tuple[int, int]:
    """Return the height and width of the largest images of a training."""
    if cfg.INPUT.CROP.ENABLED:
        height, width = cfg.INPUT.CROP.SIZE
        return height, width
    return max(cfg.INPUT.MIN_SIZE_TRAIN), cfg.INPUT.MAX_SIZE_TRAIN


def make_row(cost: Cost, cfg: CfgNode, reference: Cost) -> list[str]:
    """Return the cells after the name; `reference` is the cost of Panoptic FPN."""
    batch = cfg.SOLVER.IMS_PER_BATCH
    per_gpu = -(-batch // GPUS)
    memory = PARAMETER_BYTES * cost.parameters + ACTIVATION_BYTES * cost.activations * per_gpu
    seconds = STEP_SECONDS * cost.multiply_adds / reference.multiply_adds * per_gpu / (STEP_IMAGES / GPUS)
    return [
        "×".join(map(str, cost.size)),
        f"{cost.parameters / 1e6:.0f}",
        f"{cost.multiply_adds / 1e9:.0f}",
        f"{cost.activations / 1e6:.0f}",
        f"{batch}",
        f"{cfg.SOLVER.MAX_ITER:,}",
        f"{memory / 1e9:.1f}",
        f"{seconds * cfg.SOLVER.MAX_ITER / 3600:.1f}",
    ]


if __name__ == "__main__":
    main()
