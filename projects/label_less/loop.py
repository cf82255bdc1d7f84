#!/usr/bin/env python3
"""Does choosing the images to label by the model's uncertainty beat choosing them at random? Measured on Toyscapes.

    python tools/make_toyscapes.py --output datasets/toyscapes --preset standard --train 2000 --heldout 300 --val 300
    python projects/label_less/loop.py --config-file projects/label_less/toyscapes.yaml \\
        --output output/label_less --into projects/label_less/README.md

For each seed a pool of --start + --pool images is drawn from the training split. A model is trained on the first
--start of them. Then in each round --add images of the pool are labeled, by the ground truth of the generator, and a
model is trained from the same initial weights on all labeled ones: once with the images that tools/rank_by_error.py
puts first, and once with images drawn at random. Both start with the same images. Finished trainings are not repeated,
and one that was interrupted continues.

The folder gets curve.json, curve.png, and a folder for each training.
"""

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from tabulate import tabulate

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.io.text_files import read_json_object, write_json
from unified_seg.data.problems import DataError
from unified_seg.errors import UserError
from unified_seg.evaluation.results import name_machine
from unified_seg.reporting.readme import read_with_markers, replace_table
from unified_seg_cli import ToolParser, run_tool

ROOT = Path(__file__).resolve().parents[2]
RANKED, RANDOM = STRATEGIES = ("ranked", "random")
MARKERS = "label_less"  # the table in the README
COLORS = {RANKED: "#0072b2", RANDOM: "#d55e00"}
RESULTS = Path("inference") / "results.json"

#: Runs a tool with arguments.
RunTool = Callable[[str, list[str]], None]


class Pool(NamedTuple):
    """The images that could be labeled.

    Attributes:
        root: of the data set, in Cityscapes' layout.
        images: the file of each image id, relative to leftImg8bit/train, in the order of the draw.
    """

    root: Path
    images: dict[str, str]

    @property
    def image_root(self) -> Path:
        return self.root / "leftImg8bit" / "train"

    @property
    def json_file(self) -> Path:
        return self.root / "gtFine" / "cityscapes_panoptic_train.json"


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_config_file()
    parser.add_output()
    add = parser.add_argument
    add("--data", type=Path, metavar="FOLDER", help="the images, in Cityscapes' layout; default: Toyscapes")
    add("--test", default="unified_toyscapes_val", metavar="NAME", help="the test set; default: %(default)s")
    add("--metric", default="sem_seg/mIoU", metavar="TASK/METRIC", help="of the curve; default: %(default)s")
    for name, number, words in (
        ("--start", 50, "images labeled at the start"),
        ("--pool", 500, "further images, among which is chosen"),
        ("--add", 50, "images labeled in a round"),
        ("--rounds", 3, "rounds of labeling"),
        ("--seeds", 3, "repetitions, with other images and weights"),
    ):
        parser.add_count(name, words, default=number)
    add("--into", type=Path, metavar="README", help=f"a README; the table goes between its markers '{MARKERS}'")
    parser.add_overrides()
    return parser.parse_args(arguments)


def draw_pool(root: Path, count: int, seed: int) -> Pool:
    """Draw images of the training split.

    Raises:
        DataError: there are not as many.
    """
    files = sorted(
        path.relative_to(root / "leftImg8bit/train") for path in (root / "leftImg8bit/train").glob("*/*.png")
    )
    if len(files) < count:
        raise DataError(f"{root / 'leftImg8bit/train'}: {len(files)} images, --start and --pool need {count}")
    drawn = random.Random(seed).sample(files, count)
    return Pool(root, {file.name.removesuffix("_leftImg8bit.png"): file.as_posix() for file in drawn})


def write_subset(pool: Pool, image_ids: Sequence[str], file: Path) -> None:
    """Write the panoptic JSON of some images."""
    content = read_json_object(pool.json_file)
    kept = set(image_ids)
    images = [{**image, "file_name": pool.images[image["id"]]} for image in content["images"] if image["id"] in kept]
    annotations = [each for each in content["annotations"] if each["image_id"] in kept]
    write_json(file, {**content, "images": images, "annotations": annotations}, indent=None)


class Loop:
    """The trainings and choices of one seed.

    Args:
        args: of the command line.
        pool: the images; the first ones are labeled at the start.
        seed: of the weights and of the random choices.
        run_tool: starts train_net and rank_by_error.
    """

    def __init__(self, args: argparse.Namespace, pool: Pool, seed: int, run_tool: RunTool):
        self.args = args
        self.pool = pool
        self.seed = seed
        self.run_tool = run_tool
        self.folder = args.output / f"seed_{seed}"

    def run(self) -> dict[str, list[float]]:
        """Return the scores of each strategy, before the first and after each round."""
        start = list(self.pool.images)[: self.args.start]
        first = self.train("start", start)
        scores = {}
        for strategy in STRATEGIES:
            labeled, folder, scores[strategy] = start, "start", [first]
            for number in range(1, self.args.rounds + 1):
                name = f"{strategy}_{number}"
                labeled = [*labeled, *self.choose(strategy, name, folder, labeled)]
                scores[strategy].append(self.train(name, labeled))
                folder = name
        return scores

    def train(self, name: str, labeled: Sequence[str]) -> float:
        """Train on images, unless it was done, and return the score."""
        folder = self.folder / name
        if not (folder / RESULTS).is_file():
            write_subset(self.pool, labeled, folder / "labeled.json")
            dataset = f"label_less_{self.seed}_{name}"
            entry = {"NAME": dataset, "IMAGES": str(self.pool.image_root.absolute())}
            entry |= {"PANOPTIC": str((folder / "labeled.json").absolute())}
            entry |= {"PANOPTIC_PNGS": str(self.pool.json_file.with_suffix("").absolute())}
            options = ["DATASETS.CUSTOM", str([entry]), "DATASETS.TRAIN", f"('{dataset}',)"]
            options += ["DATASETS.TEST", f"('{self.args.test}',)", "SEED", str(self.seed + 1), "TEST.REPORT", "False"]
            options += ["OUTPUT_DIR", str(folder), *self.args.opts]
            self.run_tool("train_net", ["--config-file", self.args.config_file, "--resume", *options])
        task, _, metric = self.args.metric.partition("/")
        results = read_json_object(folder / RESULTS)["results"]
        return results[self.args.test][task][metric]

    def choose(self, strategy: str, name: str, earlier: str, labeled: Sequence[str]) -> list[str]:
        """Return the ids of the images to label next, chosen with the model of an earlier training."""
        rest = [image_id for image_id in self.pool.images if image_id not in set(labeled)]
        if strategy == RANDOM:
            return random.Random(f"{self.seed} {name}").sample(rest, self.args.add)
        folder = self.folder / name
        if not (folder / "ranking.csv").is_file():
            images = folder / "unlabeled"
            images.mkdir(parents=True, exist_ok=True)
            for image_id in rest:
                link = images / f"{image_id}.png"
                if not link.exists():
                    os.symlink((self.pool.image_root / self.pool.images[image_id]).absolute(), link)
            model = self.folder / earlier
            options = ["--config-file", str(model / "config.yaml"), "--input", str(images), "--output", str(folder)]
            options += ["--top", str(self.args.add), "--opts", "MODEL.WEIGHTS", str(model / "model_final.pth")]
            self.run_tool("rank_by_error", options)
        rows = (folder / "ranking.csv").read_text(encoding="utf-8").splitlines()[1 : self.args.add + 1]
        return [Path(row.split(",")[1]).stem for row in rows]


def summarize(args: argparse.Namespace, scores: Sequence[dict[str, list[float]]]) -> dict[str, Any]:
    """Return what curve.json has: the scores of all seeds, and the gain of the ranked choice with its interval."""
    gains = np.array([of_seed[RANKED] for of_seed in scores]) - np.array([of_seed[RANDOM] for of_seed in scores])
    return {
        "metric": args.metric,
        "config": args.config_file,
        "test": args.test,
        "machine": name_machine(),
        "labeled": [args.start + number * args.add for number in range(args.rounds + 1)],
        "scores": {strategy: [of_seed[strategy] for of_seed in scores] for strategy in STRATEGIES},
        "gain": [
            {"mean": fmean(each), "standard_error": stdev(each) / len(each) ** 0.5 if len(each) > 1 else None}
            for each in gains.T.tolist()
        ],
    }


def draw_curve(file: Path, summary: dict[str, Any]) -> None:
    """Draw the score over the number of labeled images: a thin line for each seed, and their mean."""
    figure, axes = plt.subplots(figsize=(5.5, 3.5))
    for strategy in STRATEGIES:
        scores = np.array(summary["scores"][strategy])
        for of_seed in scores:
            axes.plot(summary["labeled"], of_seed, color=COLORS[strategy], linewidth=0.7, alpha=0.5)
        style = {"color": COLORS[strategy], "marker": "o" if strategy == RANKED else "s"}
        axes.plot(summary["labeled"], scores.mean(axis=0), label=strategy, **style)
    axes.set_xlabel("labeled images")
    axes.set_ylabel(summary["metric"].partition("/")[2])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=120, bbox_inches="tight")
    plt.close(figure)


def format_table(summary: dict[str, Any]) -> str:
    """Return the table of the README in Markdown, with its source."""
    rows = []
    for index, labeled in enumerate(summary["labeled"]):
        means = [fmean(of_seed[index] for of_seed in summary["scores"][strategy]) for strategy in STRATEGIES]
        gain = summary["gain"][index]
        error = "" if gain["standard_error"] is None else f" ± {gain['standard_error']:.2f}"
        rows.append([labeled, *(f"{mean:.2f}" for mean in means), f"{gain['mean']:+.2f}{error}"])
    metric = summary["metric"].partition("/")[2]
    headers = ["labeled images", f"{metric}, ranked", f"{metric}, random", "gain ± standard error"]
    seeds = len(summary["scores"][RANKED])
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    source = f"`{Path(summary['config']).as_posix()}` on `{summary['test']}`, {seeds} seeds; {summary['machine']}."
    return f"{table}\n\n- {source}"


def start_tool(name: str, arguments: list[str]) -> None:
    """Run a tool in a process of its own.

    Raises:
        UserError: it failed; its output tells why.
    """
    status = subprocess.run([sys.executable, str(ROOT / "tools" / f"{name}.py"), *arguments]).returncode
    if status:
        raise UserError(f"tools/{name}.py ended with status {status}; run this again to continue")


def run(args: argparse.Namespace, run_tool: RunTool = start_tool) -> None:
    if args.add * args.rounds > args.pool:
        raise DataError(f"--pool {args.pool}: fewer images than --rounds {args.rounds} times --add {args.add}")
    if args.into is not None:
        read_with_markers(args.into, MARKERS)
    root = args.data or get_datasets_root() / "toyscapes"
    scores = []
    for seed in range(args.seeds):
        pool = draw_pool(root, args.start + args.pool, seed)
        scores.append(Loop(args, pool, seed, run_tool).run())
    summary = summarize(args, scores)
    write_json(args.output / "curve.json", summary)
    draw_curve(args.output / "curve.png", summary)
    print(format_table(summary))
    if args.into is not None:
        replace_table(args.into, MARKERS, format_table(summary))


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(lambda: run(parse_args(arguments)))


if __name__ == "__main__":
    main()
