"""The plan of a training in a few lines: what is trained, on what, for how long."""

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import nn

from unified_seg.data.datasets.alignment import count_records, model_classes
from unified_seg.words import join_some
from unified_seg_cli.cores import count_allowed_cores

# Class names in the plan.
MAX_NAMES = 8
KINDS = {"things": True, "stuff": False}


def describe_plan(cfg: CfgNode, model: nn.Module) -> str:
    """Return the plan of a training as lines of a name and a text.

    Args:
        cfg: a resolved config.
        model: that is trained.
    """
    lines = {
        "data": _describe_data(cfg),
        "classes": _describe_classes(cfg),
        "model": _describe_model(cfg, model),
        "weights": cfg.MODEL.WEIGHTS or "none, from scratch",
        "schedule": _describe_schedule(cfg),
        "machine": _describe_machine(cfg),
        "output": f"{cfg.OUTPUT_DIR} (log.txt has the config, the model and all messages)",
    }
    return "\n".join(f"{name:<10}{text}" for name, text in lines.items())


def _describe_data(cfg: CfgNode) -> str:
    parts = []
    for title, names in (("train", cfg.DATASETS.TRAIN), ("test", cfg.DATASETS.TEST)):
        parts += [f"{title} {name}: {count_records(name):,} images" for name in names]
    return "; ".join(parts)


def _describe_classes(cfg: CfgNode) -> str:
    classes = model_classes(cfg).classes
    kinds = {kind: [c.name for c in classes if c.is_thing == is_thing] for kind, is_thing in KINDS.items()}
    return "; ".join(f"{len(names)} {kind}: {join_some(names, MAX_NAMES)}" for kind, names in kinds.items() if names)


def _describe_model(cfg: CfgNode, model: nn.Module) -> str:
    detector = cfg.MODEL.ROI_HEADS.NAME if cfg.MODEL.PROPOSAL_GENERATOR.NAME else ""
    parts = [cfg.MODEL.BACKBONE.NAME.removeprefix("build_").removesuffix("_backbone"), detector]
    parts += [cfg.MODEL.SEM_SEG_HEAD.NAME, cfg.MODEL.PANOPTIC_FUSION.NAME]
    total = sum(value.numel() for value in model.parameters())
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    size = f"{total / 1e6:.1f} M parameters"
    return f"{', '.join(filter(None, parts))}; {size}" + (f", {trained / 1e6:.1f} M trained" if trained < total else "")


def _describe_schedule(cfg: CfgNode) -> str:
    solver, period = cfg.SOLVER, cfg.TEST.EVAL_PERIOD
    images = sum(count_records(name) for name in cfg.DATASETS.TRAIN)
    epochs = solver.MAX_ITER * solver.IMS_PER_BATCH / max(images, 1)
    evaluation = f"every {period}" if 0 < period < solver.MAX_ITER else "at the end"
    return (
        f"{solver.MAX_ITER:,} iterations of {solver.IMS_PER_BATCH} images ({epochs:.1f} epochs), {solver.OPTIMIZER} "
        f"{solver.BASE_LR:g}; a checkpoint every {solver.CHECKPOINT_PERIOD:,}"
        + (f"; evaluation {evaluation}" if cfg.DATASETS.TEST else "")
    )


def _describe_machine(cfg: CfgNode) -> str:
    processes = f"{comm.get_world_size()} processes, " if comm.get_world_size() > 1 else ""
    if cfg.MODEL.DEVICE.startswith("cuda"):
        return f"{processes}{torch.cuda.get_device_name(cfg.MODEL.DEVICE)}"
    threads, cores = torch.get_num_threads(), count_allowed_cores()
    return f"{processes}{cfg.MODEL.DEVICE}, {threads} thread{'s' * (threads > 1)} on {cores} core{'s' * (cores > 1)}"
