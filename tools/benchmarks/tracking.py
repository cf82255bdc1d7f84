"""A training step that a run can go on from exactly, against the step and the loader of Detectron2.

The method checks losses and gradients, gives each image random numbers of its own, keeps the position in the stream of
images and looks for signals. Both train the same model on the same images, which are in memory, so that a loader does
nothing else.
"""

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.data import DatasetFromList, build_detection_train_loader
from detectron2.data.samplers import TrainingSampler
from detectron2.engine import SimpleTrainer
from detectron2.utils.events import EventStorage

from unified_seg.data.pipeline.stream.batches import BatchStream
from unified_seg.training.lifecycle.processes import share_signal
from unified_seg.training.lifecycle.signals import StopSignals
from unified_seg.training.optimizer import build_optimizer
from unified_seg.training.step import StepTrainer
from unified_seg_cli import ToolParser

from .harness import Call, Comparison
from .models import CONFIG, SEED, build_unified, read_config
from .train import OVERRIDES, TOLERANCE, make_batch

SIZE = (128, 256)


def add_arguments(parser: ToolParser) -> None:
    parser.add_config_file("the config; default: %(default)s", type=Path, default=CONFIG)
    parser.add_count("--batch", "images in a training step", default=4)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    step = partial(prepare_step, args.config_file, args.device, args.size, args.batch)
    size = f"{args.size[0]}x{args.size[1]}"
    return [
        Comparison(
            name="training step that can be resumed",
            against="SimpleTrainer and loader of Detectron2",
            inputs=f"{args.batch} Toyscapes scenes (standard, seed {SEED}), {size}, with {args.config_file.name}",
            method=partial(step, tracked=True),
            peer=partial(step, tracked=False),
            equal=f"losses, to {100 * TOLERANCE:g} %",
            assert_equal=assert_equal,
        )
    ]


def prepare_step(config_file: Path, device: str, size: tuple[int, int], batch: int, tracked: bool) -> Call:
    """Prepare a training step, with the loading of its batch."""
    cfg = read_config(config_file, device, OVERRIDES)
    model = build_unified(cfg)
    optimizer, images = build_optimizer(cfg, model), make_batch(cfg, size, batch, peer=False)
    if not tracked:
        records = DatasetFromList(images, copy=False, serialize=False)
        sampler = TrainingSampler(batch, seed=SEED)
        loader = build_detection_train_loader(records, mapper=dict, sampler=sampler, total_batch_size=batch)
        return start(SimpleTrainer(model, loader, optimizer), lambda: 0)
    stream = BatchStream(
        images,
        dict,
        lambda seeds: TrainingSampler(batch, seed=seeds[0]),
        (SEED, SEED),
        batch_size=batch,
        by_aspect_ratio=True,
        num_workers=0,
    )
    signals = StopSignals()
    return start(StepTrainer(model, stream, optimizer), lambda: share_signal(signals.number))


def start(trainer: SimpleTrainer, look_for_signals: Any) -> Call:
    """Return the call of a step; the loaders have started, for which Detectron2's draws a random number."""
    call = partial(run_step, trainer, look_for_signals)
    call()
    return call


def run_step(trainer: SimpleTrainer, look_for_signals: Any) -> dict[str, float]:
    """Run a step and return its losses."""
    torch.manual_seed(SEED)  # RPN and ROI heads sample their proposals
    with EventStorage() as storage:
        trainer.run_step()
        look_for_signals()
        return {name: value for name, (value, _) in storage.latest().items() if "loss" in name}


def assert_equal(method: dict[str, float], peer: dict[str, float]) -> None:
    assert method.keys() == peer.keys(), f"losses {sorted(method)} and {sorted(peer)}"
    for name, value in peer.items():
        assert math.isclose(method[name], value, rel_tol=TOLERANCE), f"{name}: {method[name]} is not {value}"
