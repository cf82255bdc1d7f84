"""The configs of projects/confusion_groups: the paper's groups and schedule, and what each stage trains."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from unified_seg.config import load_config, read_stages
from unified_seg.data.resolve import resolve_config
from unified_seg.meta_arch import UnifiedSegmentor

CONFIGS = Path(__file__).parents[2] / "projects/confusion_groups/configs"
# Table 1, and 4.2.
SIGNS = ["building", "wall", "fence", "pole", "traffic light", "traffic sign"]
VEHICLES = ["car", "truck", "bus", "train"]
RIDERS = ["person", "rider", "motorcycle", "bicycle"]
INDOORS = ["background", "chair", "diningtable", "pottedplant", "sofa"]


# Epochs of images, 16 a step: 100 of 2,975 and 80 of 10,582.
@pytest.mark.parametrize(
    ("name", "groups", "iterations"),
    [("cityscapes_r101", [SIGNS, VEHICLES, RIDERS], 100 * 2975 / 16), ("voc_r101", [INDOORS], 80 * 10582 / 16)],
)
def test_the_papers_data_sets(name: str, groups: list[list[str]], iterations: float) -> None:
    base, subnets = (stage.config for stage in read_stages(load_config(CONFIGS / f"{name}.yaml")))
    head = subnets.MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS
    assert (groups, "copy", "sum") == (head.GROUPS, head.OTHERS, head.RULE)
    for solver in (base.SOLVER, subnets.SOLVER):
        assert (pytest.approx(iterations, rel=0.01), 16) == (solver.MAX_ITER, solver.IMS_PER_BATCH)
        assert (solver.BASE_LR, solver.MOMENTUM, solver.WEIGHT_DECAY) == (0.002, 0.9, 0.0005)
        assert (solver.OPTIMIZER, solver.LR_SCHEDULER_NAME) == ("SGD", "WarmupLinearLR")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_in_their_stage_the_subnets_train_alone(path: Path) -> None:
    stages = {stage.name: stage.config for stage in read_stages(load_config(path, ["MODEL.DEVICE", "meta"]))}
    with torch.device("meta"):
        model = build_model(resolve_config(stages["groups"]))
    assert isinstance(model, UnifiedSegmentor)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    subnets = {name for name, _ in model.named_parameters() if name.startswith("sem_seg_head.subnets.")}
    assert trained == subnets != set()
