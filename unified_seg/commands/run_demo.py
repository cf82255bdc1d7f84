"""Generate Toyscapes or find photographs, train, evaluate, draw."""

import argparse
import json
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog
from tabulate import tabulate
from tqdm import tqdm

from toyscapes import generate
from unified_seg import load_config
from unified_seg.config import COMPACT
from unified_seg.config.stages import FINAL_WEIGHTS
from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.alignment import load_for_model
from unified_seg.data.io.text_files import write_json
from unified_seg.data.resolve import resolve_config
from unified_seg.errors import UserError
from unified_seg.evaluation.base import make_file_stem
from unified_seg.inference import Predictor
from unified_seg.training.run_setup import prepare_output_folder
from unified_seg.visualization import draw_comparison
from unified_seg.visualization.canvas import write_picture

TOYSCAPES = "unified_seg://toyscapes/unified_demo.yaml"
PICTURES = 8
# The columns of the table, of those that the model has: name, and task and metric in results.json.
SCORES = {
    "mIoU": ("sem_seg", "mIoU"),
    "AP": ("segm", "AP"),
    "PQ": ("panoptic_seg", "PQ"),
}


def run(args: argparse.Namespace) -> None:
    overrides = ["OUTPUT_DIR", str(args.output), *args.opts]
    config = args.config_file or TOYSCAPES
    cfg = load_config(config, overrides, defaults=COMPACT)
    if args.config_file is None:
        print("1/3 Toyscapes, procedural street scenes in the layout of Cityscapes", flush=True)
        data = get_datasets_root() / "toyscapes_demo"
        generate(data, preset="demo", counts={"train": args.train, "val": args.val})
    else:
        cfg = resolve_config(cfg)
        images = {name: len(DatasetCatalog.get(name)) for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)}
        print(f"1/3 data: {', '.join(f'{count} images of {name}' for name, count in images.items())}", flush=True)
    print(f"2/3 training and evaluation ({cfg.SOLVER.MAX_ITER} steps; log: {args.output / 'log.txt'})", flush=True)
    prepare_output_folder(args.output)
    run_command("train", config, ["--set-aside", *overrides], args.output / "train_net.txt")
    trained = [*overrides, "MODEL.WEIGHTS", str(args.output / FINAL_WEIGHTS)]
    if cfg.TEST.AUG.ENABLED:
        # The last evaluation of a training leaves it out.
        print("    evaluation with TEST.AUG", flush=True)
        run_command("eval", config, trained, args.output / "eval.txt")
    summary = summarize(args.output)
    write_json(args.output / "results.json", summary)
    print("3/3 pictures", flush=True)
    pictures = draw(load_config(config, trained, defaults=COMPACT), args.output / "pictures")
    print(tabulate([{k: v for k, v in summary.items() if k != "versions"}], headers="keys", floatfmt=".1f"))
    print("\n".join(["", "pictures:", *(f"  {path}" for path in pictures), f"scores: {args.output / 'results.json'}"]))


def run_command(name: str, config: str | Path, arguments: list[str], log: Path) -> None:
    """Run a command of a user, with its output in a file and its progress bars on the screen.

    Raises:
        UserError: it failed; the message has the end of its output.
    """
    command = [sys.executable, "-m", "unified_seg_cli", name, "--config-file", str(config), *arguments]
    with log.open("w") as file:
        result = subprocess.run(command, stdout=file)
    if result.returncode:
        with log.open() as file:
            raise UserError(f"unified-seg {name} failed, see {log}:\n{''.join(deque(file, maxlen=20))}")


def draw(cfg: Any, folder: Path) -> list[Path]:
    """Draw the predictions beside the ground truth for some test images; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg = resolve_config(cfg)
    predictor = Predictor(cfg)
    files = []
    records, _ = load_for_model(cfg.DATASETS.TEST[0], cfg)
    chosen = records[:: max(len(records) // PICTURES, 1)][:PICTURES]  # neighbors in a video look alike
    for record in tqdm(chosen, desc="drawing", unit="img", disable=None):
        outputs = predictor(predictor.read(record["file_name"]))
        picture = draw_comparison(record, outputs, predictor.metadata)
        files.append(folder / f"{make_file_stem(record['image_id'])}.png")
        write_picture(files[-1], picture)
    return files


def summarize(output: Path) -> dict[str, Any]:
    """Return the scores of the last evaluation in percent, the times in seconds, and the versions of packages."""
    evaluation = json.loads((output / "inference" / "results.json").read_text())
    tasks = next(iter(evaluation["results"].values()))  # of the first test set
    summary = {name: tasks[task][metric] for name, (task, metric) in SCORES.items() if task in tasks}
    return summary | {key: evaluation[key] for key in ("train_s", "eval_s", "versions")}
