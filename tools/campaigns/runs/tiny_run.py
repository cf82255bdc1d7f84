"""A tiny training by the code of `tools/train_net.py`, which notes what it does; called in a fork of ForkServer."""

import functools
import json
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from PIL import Image
from torch import Tensor, nn

from unified_seg.training import run_setup
from unified_seg.training.lifecycle.checkpoints import CheckpointWriter
from unified_seg.training.run import run
from unified_seg.training.trainer import Trainer
from unified_seg_files import write_text

CHANNELS = 8
IMAGES, CLASSES = 7, 3
ITERATIONS, PERIOD = 12, 3
STAGES = ("first", "second", "last")
STAGE_ITERATIONS = 6
#: Where a call notes, in the folder of its run, its steps with their images, and at which step each training starts.
EVENTS = "events.jsonl"
#: In which state it was killed.
KILLED = "killed.txt"

CONFIG: dict[str, Any] = {
    "MODEL": {
        "DEVICE": "cpu",
        "META_ARCHITECTURE": "UnifiedSegmentor",
        "MASK_ON": False,
        "BACKBONE": {"NAME": "CampaignBackbone"},
        "PROPOSAL_GENERATOR": {"NAME": ""},
        "ROI_HEADS": {"NAME": ""},
        "PANOPTIC_FUSION": {"NAME": ""},
        "SEM_SEG_HEAD": {
            "NAME": "PSPHead",
            "IN_FEATURES": ["map"],
            "CONVS_DIM": 8,
            "COMMON_STRIDE": 4,
            "NORM": "BN",
            "PSP": {"BINS": [1, 2], "AUX_LOSS_WEIGHT": 0.0},
        },
    },
    "INPUT": {"MIN_SIZE_TRAIN": [24, 32], "MAX_SIZE_TRAIN": 64, "ROTATION": {"DEGREES": 10.0, "PROB": 0.5}},
    "SOLVER": {"IMS_PER_BATCH": 2, "MAX_ITER": ITERATIONS, "CHECKPOINT_PERIOD": PERIOD, "WARMUP_ITERS": 0, "STEPS": []},
    "DATALOADER": {"NUM_WORKERS": 0},
    "TEST": {"EVAL_PERIOD": 0},
    "SEED": 1,
}


class CampaignBackbone(Backbone):
    """One convolution with BatchNorm; its name is not one of Detectron2's."""

    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, CHANNELS, 4, 4), nn.BatchNorm2d(CHANNELS), nn.ReLU(), nn.Dropout(0.2))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"map": self.layers(x)}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"map": ShapeSpec(channels=CHANNELS, stride=4)}


def prepare(folder: Path) -> None:
    """Write the images and the config of all trainings; import and compile what they need."""
    torch.set_num_threads(1)
    BACKBONE_REGISTRY.register(CampaignBackbone)
    # It starts a dozen programs to describe the machine, the same for each training.
    run_setup.collect_env_info = functools.cache(run_setup.collect_env_info)
    build_hooks = Trainer.build_hooks
    Trainer.build_hooks = lambda self: [Recorder(), *build_hooks(self)]  # type: ignore[method-assign]
    write_dataset(folder)
    train(folder / "config.yaml", folder / "warm_up", [], {})


def write_dataset(folder: Path) -> None:
    """Write wide and tall images of noise, their labels and the config."""
    draw = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(IMAGES):
        size = (24, 36) if number % 2 else (36, 24)
        image = draw.integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray((image[..., 0] % CLASSES).astype(np.uint8)).save(folder / "labels" / f"{number}.png")
    classes = [{"id": number, "name": f"class {number}", "isthing": 0} for number in range(CLASSES)]
    (folder / "classes.json").write_text(json.dumps(classes))
    paths = {"IMAGES": "images", "SEMANTIC": "labels", "CLASSES": "classes.json"}
    entry = {"NAME": "noise", **{key: str(folder / name) for key, name in paths.items()}}
    config = {**CONFIG, "DATASETS": {"CUSTOM": [entry], "TRAIN": ["noise"], "TEST": [], "CHECK_LABELS": False}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    stages = {name: {"SOLVER": {"MAX_ITER": STAGE_ITERATIONS}} for name in STAGES}
    config = {**config, "SOLVER": {**CONFIG["SOLVER"], "STAGES": list(STAGES)}, "STAGES": stages}
    (folder / "staged.yaml").write_text(yaml.safe_dump(config))


def train(config: Path, output: Path, words: list[str], plan: dict[str, Any]) -> None:
    """Train, or resume if `output` has a run already, and end as `plan` says.

    Args:
        config: of `write_dataset`.
        output: the folder of the run.
        words: overrides KEY VALUE.
        plan: {"kill_s": s}: kill -9 after s seconds; {"kill_save": n, "kill_s": s}: after s seconds of the save n;
            {"signal": number, "after": n}: send a signal to this process after n steps.
    """
    global current
    current = plan
    output.mkdir(parents=True, exist_ok=True)
    if "kill_s" in plan:
        plan["pipe"] = start_killer(output, plan.get("kill_save"), plan["kill_s"])
        _save = CheckpointWriter._save
        CheckpointWriter._save = lambda *args: noted_save(_save, plan["pipe"], *args)  # type: ignore[method-assign]
    flag = ["--resume"] if (output / EVENTS).exists() else []
    run(["--config-file", str(config), *flag, "OUTPUT_DIR", str(output), *words])


current: dict[str, Any] = {}


class Recorder(HookBase):
    """Notes each training and step, and sends the signal of the plan."""

    def before_train(self) -> None:
        folder = Path(self.trainer.cfg.OUTPUT_DIR)
        self.folder = folder.parent if folder.name in STAGES else folder
        self.stage = folder.name if folder.name in STAGES else STAGES[-1]
        note(self.folder / EVENTS, {"stage": self.stage, "start": self.trainer.start_iter})

    def after_step(self) -> None:
        images = [Path(each["file_name"]).stem for each in self.trainer._trainer.batch]
        note(self.folder / EVENTS, {"stage": self.stage, "iteration": self.trainer.iter, "images": images})
        if self.trainer.iter + 1 == current.get("after"):
            signal.raise_signal(current["signal"])


def note(file: Path, content: dict[str, Any]) -> None:
    """Append a line in one write, so that a kill leaves it whole or not at all."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, json.dumps(content).encode() + b"\n")
    os.close(descriptor)


def noted_save(save: Callable[..., None], pipe: int, *args: Any) -> None:
    os.write(pipe, b"<")
    save(*args)
    os.write(pipe, b">")


def start_killer(output: Path, number: int | None, seconds: float) -> int:
    """Start a process that kills this one with -9, and notes whether a checkpoint was being written then.

    Args:
        output: where it notes it, in KILLED.
        number: of the save in which it kills, from 1; None: the time counts from now.
        seconds: from then on.

    Returns:
        A pipe to which this process writes "<" before and ">" after each save.
    """
    victim = os.getpid()
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        kind = kill_in_time(victim, reader, number, seconds)
        if kind:
            write_text(output / KILLED, kind)
        os._exit(0)
    os.close(reader)
    return writer


def kill_in_time(victim: int, reader: int, number: int | None, seconds: float) -> str:
    """Return in which state the victim was killed; "" if it ended before."""
    seen = b""
    while number is not None and seen.count(b"<") < number:
        if not (read := os.read(reader, 1)):
            return ""
        seen += read
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([reader], [], [], left)[0]:
            if not (read := os.read(reader, 1)):
                return ""
            seen += read
    os.kill(victim, signal.SIGKILL)
    while read := os.read(reader, 1000):  # to its end, when the victim is gone
        seen += read
    return "while saving" if seen.count(b"<") > seen.count(b">") else "between saves"
