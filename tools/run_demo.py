#!/usr/bin/env python3
"""From nothing to a panoptic model: make Toyscapes, train, evaluate, draw. This is what `make demo` runs.

python tools/run_demo.py --output output/demo
python tools/run_demo.py --output output/quick --train 64 --val 8 SOLVER.MAX_ITER 20
"""

import argparse
import json
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import cv2
from tabulate import tabulate
from tqdm import tqdm

from toyscapes import generate
from unified_seg import load_config
from unified_seg.config import COMPACT, ConfigError
from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.cityscapes import load_cityscapes_like
from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.text_files import write_json
from unified_seg.inference import Predictor
from unified_seg.visualization import draw_comparison

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "toyscapes" / "unified_demo.yaml"
DATA = get_datasets_root() / "toyscapes_demo"
PICTURES = 8
# What the table shows: name, task and metric of results.json.
SCORES = {
    "mIoU": ("sem_seg", "mIoU"),
    "AP": ("segm", "AP"),
    "PQ": ("panoptic_seg", "PQ"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("output/demo"), help="folder for everything that is made")
    parser.add_argument("--train", type=int, default=1500, help="training images")
    parser.add_argument("--val", type=int, default=100, help="validation images")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs for the config")
    args = parser.parse_args()
    overrides = ["OUTPUT_DIR", str(args.output), *args.opts]
    try:
        cfg = load_config(CONFIG, overrides, defaults=COMPACT)
    except ConfigError as error:
        sys.exit(str(error))

    print("1/3 Toyscapes, procedural street scenes in the layout of Cityscapes", flush=True)
    counts = {"train": args.train, "val": args.val}
    try:
        generate(DATA, preset="demo", counts=counts)
    except FileExistsError as error:
        sys.exit(str(error))
    print(f"2/3 training and evaluation ({cfg.SOLVER.MAX_ITER} steps; log: {args.output / 'log.txt'})", flush=True)
    train(overrides, args.output)
    print("3/3 pictures", flush=True)
    cfg.MODEL.WEIGHTS = str(args.output / "model_final.pth")
    pictures = draw(cfg, args.output / "pictures")

    summary = summarize(args.output)
    print(tabulate([{k: v for k, v in summary.items() if k != "versions"}], headers="keys", floatfmt=".1f"))
    print("\n".join(["", "pictures:", *(f"  {path}" for path in pictures), f"scores: {args.output / 'results.json'}"]))


def train(overrides: list[str], output: Path) -> None:
    """Train by the command that a user would type; its log goes to a file, its progress bars to the screen."""
    output.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "tools" / "train_net.py"), "--config-file", str(CONFIG), *overrides]
    log = output / "train_net.txt"
    with log.open("w") as file:
        result = subprocess.run(command, stdout=file)
    if result.returncode:
        with log.open() as file:
            sys.exit("".join(deque(file, maxlen=20)) + f"training failed, see {log}")


def draw(cfg: Any, folder: Path) -> list[Path]:
    """Draw predictions beside the ground truth for a few validation images; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    predictor = Predictor(cfg)
    files = []
    for record in tqdm(load_cityscapes_like(DATA, "val")[:PICTURES], desc="drawing", unit="img", disable=None):
        outputs = predictor(read_image(record["file_name"], "BGR"))
        picture = draw_comparison(record, outputs, predictor.metadata)
        files.append(folder / f"{record['image_id']}.png")
        cv2.imwrite(str(files[-1]), picture[:, :, ::-1])
    return files


def summarize(output: Path) -> dict[str, Any]:
    """The headline scores in percent, times in seconds, versions; also written to results.json."""
    evaluation = json.loads((output / "inference" / "results.json").read_text())
    (tasks,) = evaluation["results"].values()
    summary = {name: tasks[task][metric] for name, (task, metric) in SCORES.items()}
    summary |= {key: evaluation[key] for key in ("train_s", "eval_s", "versions")}
    write_json(output / "results.json", summary)
    return summary


if __name__ == "__main__":
    main()
