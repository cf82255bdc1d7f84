"""Everything that only an accelerator can tell, in one command of under eight minutes: tests, times and memory.

It runs the tests that need CUDA; times the fusion by CUDA events, on a street and on one with a winding region (the
worst case, part of which runs on the CPU), after comparing the results with those of the CPU; and times a training step
in mixed precision with channels_last memory against that of Detectron2's PanopticFPN. With --train it also trains on
Toyscapes at 256x512, which takes some ten minutes more.

    python tools/benchmark.py accelerator --device cuda --into docs/benchmarks.md \\
        --json docs/benchmarks/accelerator.json
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.utils.events import EventStorage
from tabulate import tabulate
from torch import nn

from unified_seg.data.io.text_files import write_json
from unified_seg.errors import UserError
from unified_seg.reporting.readme import replace_table
from unified_seg.training.optimizer import build_optimizer
from unified_seg_cli import ToolParser

from .fusion import prepare_detectron2
from .harness import Call, choose_clock, format_memory, quartiles, take_turns, with_spread
from .inputs import toyscapes_batch
from .launches import assert_same_fusion, prepare_fusion
from .memory import peak_on_cuda
from .models import CONFIG, SEED, build_peer, build_unified, read_config
from .pretend_device import NAME, move_module

SIZE = (1024, 2048)
ROOT = Path(__file__).resolve().parents[2]
TESTS_SECONDS = 180
# The training step: 256x512 fits the config of Toyscapes.
STEP_SIZE, BATCH = (256, 512), 16
TRAINING = ("SOLVER.MAX_ITER", "6000", "SOLVER.AMP.ENABLED", "True", "SOLVER.IMS_PER_BATCH", str(BATCH))
TRAINING_SIZES = ("INPUT.MIN_SIZE_TRAIN", "(204, 256)", "INPUT.MAX_SIZE_TRAIN", "512", "INPUT.MIN_SIZE_TEST", "256")


@dataclass(frozen=True)
class Timing:
    """Median and quartiles of the calls of method and peer in turn, in milliseconds, and peak memory in 10^6 bytes."""

    name: str
    ms: float
    quartiles_ms: tuple[float, float]
    peer_ms: float
    peer_quartiles_ms: tuple[float, float]
    peak_mb: float | None
    peer_peak_mb: float | None


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--instances", "instances in the image of the fusion", default=40)
    parser.add_argument("--train", action="store_true", help="also train on Toyscapes, some ten minutes")


def report(args: argparse.Namespace, machine: str) -> None:
    """Run everything on args.device; print the results, and write them as --json and --into say.

    Raises:
        UserError: the device is the CPU.
        AssertionError: the fusion's result is not that of the CPU.
    """
    if torch.device(args.device).type == "cpu":
        raise UserError("--device cpu: this command measures an accelerator, such as --device cuda")
    tests = run_tests() if torch.device(args.device).type == "cuda" else "not run"
    timings = list(time_parts(args))
    text = as_table(timings)
    print(f"{text}\ntests that need CUDA: {tests}")
    if args.json is not None:
        write_json(args.json, {"machine": machine, "tests": tests, "timings": [asdict(each) for each in timings]})
    if args.into is not None:
        notes = f"- Tests that need CUDA: {tests}.\n- Machine: {machine}."
        replace_table(args.into, "benchmark-accelerator", f"{text}\n\n{notes}")
    if args.train:
        train(args.device)


def run_tests() -> str:
    """Run the tests that need CUDA; return the last line of their report."""
    command = [sys.executable, "-m", "pytest", "-q", "-k", "cuda", "tests/fusion", "tests/heads", "tests/config"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TESTS_SECONDS)
    return (done.stdout.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def time_parts(args: argparse.Namespace, step_size: tuple[int, int] = STEP_SIZE, batch: int = BATCH) -> list[Timing]:
    """Time the fusion and a training step on args.device."""
    timings = []
    for winding in (False, True):
        prepare = partial(prepare_fusion, args.size, args.instances, winding)
        method = prepare(args.device)
        assert_same_fusion(method(), prepare("cpu")())
        peer = prepare_detectron2(args.size, args.instances, args.device)
        timings.append(_time("fusion, winding region" if winding else "fusion", method, peer, args))
    step, peer_step = (prepare_step(args.device, step_size, batch, build) for build in (build_unified, build_peer))
    return [*timings, _time(f"training step, {batch} images", step, peer_step, args)]


def prepare_step(
    device: str, size: tuple[int, int], batch: int, build: Callable[[Any], nn.Module]
) -> Callable[[], dict[str, torch.Tensor]]:
    """Prepare a training step in mixed precision, with channels_last memory, of the method or the peer."""
    cfg = read_config(CONFIG, "cpu", ("SOLVER.BASE_LR", "1e-8"))
    model = build(cfg).to(memory_format=torch.channels_last).train()
    is_cuda = torch.device(device).type == "cuda"
    model = move_module(model) if torch.device(device).type == NAME else model.to(device)
    optimizer = build_optimizer(cfg, model)
    scaler = torch.amp.GradScaler("cuda", enabled=is_cuda)
    inputs = toyscapes_batch(size, batch, SEED, cfg.INPUT.FORMAT)

    def step() -> dict[str, torch.Tensor]:
        torch.manual_seed(SEED)
        with EventStorage(), torch.autocast("cuda", dtype=torch.float16, enabled=is_cuda):
            losses = model(inputs)
        optimizer.zero_grad()
        scaler.scale(sum(losses.values())).backward()
        scaler.step(optimizer)
        scaler.update()
        return {name: loss.detach() for name, loss in losses.items()}

    return step


def train(device: str) -> None:
    """Generate Toyscapes at 256x512 and train the standard config on it."""
    data = ROOT / "output" / "accelerator" / "datasets" / "toyscapes"
    make = [
        sys.executable,
        "tools/make_toyscapes.py",
        "--output",
        str(data),
        "--preset",
        "standard",
        "--size",
        "256x512",
    ]
    run = [sys.executable, "tools/train_net.py", "--config-file", str(CONFIG), "MODEL.DEVICE", device]
    run += [*TRAINING, *TRAINING_SIZES, "OUTPUT_DIR", str(data.parents[1] / "run")]
    subprocess.run(make, cwd=ROOT, check=True)
    subprocess.run(["env", f"DETECTRON2_DATASETS={data.parent}", *run], cwd=ROOT, check=True)


def as_table(timings: list[Timing]) -> str:
    columns = {
        "what": [each.name for each in timings],
        "method, ms": [with_spread(each.ms, each.quartiles_ms, ".3g") for each in timings],
        "Detectron2, ms": [with_spread(each.peer_ms, each.peer_quartiles_ms, ".3g") for each in timings],
        "method, MB": [format_memory(each.peak_mb, ".0f") for each in timings],
        "Detectron2, MB": [format_memory(each.peer_peak_mb, ".0f") for each in timings],
    }
    return tabulate(columns, headers="keys", tablefmt="github", disable_numparse=True)


def _time(name: str, method: Call, peer: Call, args: argparse.Namespace) -> Timing:
    is_cuda = torch.device(args.device).type == "cuda"
    peaks = [peak_on_cuda(call, args.device) if is_cuda else None for call in (method, peer)]
    times, peer_times = take_turns(method, peer, args.repeats, choose_clock(args.device))
    middle, peer_middle = statistics.median(times), statistics.median(peer_times)
    return Timing(name, middle, quartiles(times), peer_middle, quartiles(peer_times), *peaks)
