"""The memory of tools/predict.py while it predicts many small images, and the files of a run that was killed.

A small model with random weights predicts images of noise, once undisturbed and once killed (SIGKILL) at random moments
and started again. The files of both runs must be the same, byte for byte. Resident memory is read four times a second.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import pyplot as plt
from PIL import Image

from unified_seg.checkpoint import write_checkpoint
from unified_seg.config import get_config, merge_file
from unified_seg.data.resolve import resolve_config
from unified_seg.errors import UserError
from unified_seg.inference.training_description import describe_training
from unified_seg.meta_arch import build_model
from unified_seg_cli import ToolParser
from unified_seg_files import write_atomically, write_text

from .publish import format_command

SIZE = (32, 32)
SAVED = ("semantic", "panoptic", "instances", "json", "labelme")
SECONDS = 0.25
ROOT = Path(__file__).resolve().parents[2]
# Narrow heads and few detections: the files of an image matter here, not its prediction.
SMALL: dict[str, Any] = {
    "MODEL.PANOPTIC_FUSION.NAME": "ScoreOrderFusion",
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 16,
    "MODEL.SEM_SEG_HEAD.ASP_REFINEMENT.BRANCH_DIM": 16,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 50,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 5,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH": 0.0,
    "TEST.DETECTIONS_PER_IMAGE": 3,
    "TEST.IMAGES_AT_ONCE": 1,
    "INPUT.MIN_SIZE_TEST": 0,
    "MODEL.DEVICE": "cpu",
}


class Sample(NamedTuple):
    """The resident memory of a process, in 10^6 bytes, when so many images were finished."""

    images: int
    memory: float


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--images", "images to predict", default=10_000)
    parser.add_count("--kills", "random moments at which the second run is killed", default=3)
    parser.add_argument("--plot", type=Path, metavar="PNG", help="a picture of the memory over the images")


def report(args: argparse.Namespace, machine: str) -> None:
    """Measure, print the result, and write what --plot and --json name.

    Raises:
        UserError: the runs differ.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_images(folder / "images", args.images, args.size)
        weights = write_model(folder / "model.pth")
        samples: list[Sample] = []
        start = time.perf_counter()
        run(folder, weights, "whole", args.threads, samples.append)
        seconds = time.perf_counter() - start
        kills = kill_and_go_on(folder, weights, args.threads, args.images, args.kills)
        whole, killed = hash_tree(folder / "whole"), hash_tree(folder / "killed")
        if differing := sorted(name for name in whole.keys() | killed.keys() if whole.get(name) != killed.get(name)):
            raise UserError(f"{len(differing)} files differ after the kills, such as {differing[0]}")
    steady = [sample for sample in samples if sample.images]
    early, late = (
        median(s.memory for s in steady if low * args.images <= s.images <= high * args.images)
        for low, high in ((0.1, 0.2), (0.9, 1.0))
    )
    result = {
        "images": args.images,
        "size": list(args.size),
        "save": list(SAVED),
        "seconds": round(seconds, 1),
        "memory_mb_after_a_tenth": round(early),
        "memory_mb_at_the_end": round(late),
        "memory_mb_peak": round(max(s.memory for s in samples)),
        "killed_after_images": kills,
        "files_compared": len(whole),
        "machine": machine,
        "command": format_command(args.words),
    }
    print(json.dumps(result, indent=1))
    if args.json is not None:
        write_text(args.json, json.dumps(result, indent=1) + "\n")
    if args.plot is not None:
        plot(args.plot, steady, machine)


def write_images(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write images of coarse noise into sub-folders of a hundred."""
    draw = np.random.default_rng(0)
    for number in range(count):
        file = folder / f"{number // 100:04d}" / f"{number % 100:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = draw.integers(0, 256, (*(-(-side // 8) for side in size), 3), dtype=np.uint8)
        Image.fromarray(coarse.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]).save(file)


def write_model(file: Path) -> Path:
    cfg = get_config()
    for name in ("unified_fpn.yaml", "slim_r18_128x256.yaml"):
        merge_file(cfg, ROOT / "configs/base" / name)
    cfg.merge_from_list([word for item in SMALL.items() for word in item])
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("unified_toyscapes_train",), ()
    cfg = resolve_config(cfg)
    torch.manual_seed(0)
    write_checkpoint(file, {"model": build_model(cfg).state_dict(), "trainer": describe_training(cfg)})
    return file


def start(folder: Path, weights: Path, output: str, threads: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "tools/predict.py"), "--weights", str(weights), "--save", *SAVED]
    command += ["--input", str(folder / "images"), "--output", str(folder / output)]
    with (folder / "printed.txt").open("wb") as printed:
        environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        return subprocess.Popen(command, env={**os.environ, **environment}, stdout=printed, stderr=printed)


def run(
    folder: Path, weights: Path, output: str, threads: int, watch: Callable[[Sample], object], kill_at: int = 0
) -> int:
    """Predict into a folder, and return how many images this process finished.

    Args:
        watch: gets the memory while the process runs.
        kill_at: end it when it has finished this number of images; 0 = let it end.

    Raises:
        UserError: it failed.
    """
    process = start(folder, weights, output, threads)
    log = _Log(folder / output / "log")
    while process.poll() is None:
        log.read()
        memory = _read_memory(process.pid)
        if memory is not None:
            watch(Sample(log.finished, memory))
        if kill_at and log.finished >= kill_at:
            process.kill()
        time.sleep(SECONDS if not kill_at else SECONDS / 10)
    if process.returncode and not (kill_at and process.returncode < 0):
        raise UserError(f"tools/predict.py failed: {(folder / 'printed.txt').read_text()[-1000:]}")
    return log.finished


def kill_and_go_on(folder: Path, weights: Path, threads: int, images: int, kills: int) -> list[int]:
    """Predict with kills at random moments; return how many images each killed process had finished."""
    draw = random.Random(0)
    finished = []
    for _ in range(kills):
        at = draw.randrange(1, max(2, images // (kills + 1)))
        finished.append(run(folder, weights, "killed", threads, lambda _: None, kill_at=at))
    run(folder, weights, "killed", threads, lambda _: None)
    return finished


def hash_tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def plot(file: Path, samples: list[Sample], machine: str) -> None:
    """Plot the memory over the number of finished images."""
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    axes.plot([s.images for s in samples], [s.memory for s in samples], linewidth=1.2)
    axes.set(xlabel="images", ylabel="resident memory, MB", ylim=(0, None), xlim=(0, None))
    axes.set_title(f"tools/predict.py\n{machine}", fontsize=8)
    axes.grid(alpha=0.3)
    with write_atomically(file, suffix=file.suffix) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


class _Log:
    """The number of lines that a process has added to its log."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.before = set(folder.glob("*.jsonl"))
        self.finished = 0
        self._place = 0

    def read(self) -> None:
        new = sorted(set(self.folder.glob("0*.jsonl")) - self.before)
        if new and new[0].is_file():
            with new[0].open("rb") as file:
                file.seek(self._place)
                added = file.read()
            self._place += len(added)
            self.finished += added.count(b"\n")


def _read_memory(pid: int) -> float | None:
    """Return the resident memory of a process in 10^6 bytes; None if it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return None
