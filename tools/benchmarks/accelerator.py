"""Everything that only an accelerator can tell, in one command of under eight minutes: tests, times and memory.

It runs the tests that need CUDA; times the fusion by CUDA events, on a street and on one with a winding region (the
worst case, part of which runs on the CPU), after comparing the results with those of the CPU; and times a training step
in mixed precision with channels_last memory against that of Detectron2's PanopticFPN. With --train it also trains on
Toyscapes at 256x512, which takes some ten minutes more.

    python tools/benchmark.py accelerator --device cuda --into docs/benchmarks.md \\
        --json docs/benchmarks/accelerator.json
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from unified_seg.errors import UserError
from unified_seg.training.optimizer import build_optimizer
from unified_seg.training.step import get_autocast_dtype
from unified_seg_cli import ToolParser

from .fusion import prepare_detectron2
from .harness import Call, Comparison, as_table, measure, save_measurements
from .launches import assert_same_fusion, prepare_fusion
from .models import CONFIG, SEED, build_peer, build_unified, read_config
from .pretend_device import NAME, move_module
from .publish import format_command, publish
from .train import TrainingStep, assert_equal_detector_losses, make_batch

SIZE = (1024, 2048)
ROOT = Path(__file__).resolve().parents[2]
TESTS_SECONDS = 180
# The training step: 256x512 fits the config of Toyscapes.
STEP_SIZE, BATCH = (256, 512), 16
# Full precision is for the pretended device; with so small a rate each step does the work of the first.
STEP_KEYS = (
    *("SOLVER.BASE_LR", "1e-8"),
    *("MODEL.UNIFIED.MEMORY_FORMAT", "channels_last", "MODEL.UNIFIED.CPU_PRECISION", "float32"),
)
MIXED = ("SOLVER.AMP.ENABLED", "True")
TRAINING = ("SOLVER.MAX_ITER", "6000", "SOLVER.AMP.ENABLED", "True", "SOLVER.IMS_PER_BATCH", str(BATCH))
TRAINING_SIZES = ("INPUT.MIN_SIZE_TRAIN", "(204, 256)", "INPUT.MAX_SIZE_TRAIN", "512", "INPUT.MIN_SIZE_TEST", "256")


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
    comparisons = make_comparisons(args)
    measurements = [measure(each, args.device, args.repeats, args.threads) for each in comparisons]
    print(f"{as_table(measurements, args.device, machine)}\ntests that need CUDA: {tests}")
    if args.json is not None:
        save_measurements(args.json, measurements, args.device, machine, format_command(args.words))
    if args.into is not None:
        publish(args.into, args.name, measurements, machine, args.words, [f"Tests that need CUDA: {tests}."])
    if args.train:
        train(args.device)


def run_tests() -> str:
    """Run the tests that need CUDA; return the last line of their report."""
    command = [sys.executable, "-m", "pytest", "-q", "-k", "cuda", "tests/fusion", "tests/heads", "tests/config"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TESTS_SECONDS)
    return (done.stdout.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparisons of the fusion and of a training step on args.device."""
    comparisons = []
    for winding in (False, True):
        prepare = partial(prepare_fusion, args.size, args.instances, winding)
        comparisons.append(
            Comparison(
                name="fusion, winding region" if winding else "fusion",
                against="Detectron2's combine_semantic_and_instance_outputs on full masks",
                inputs=f"a synthetic street (seed {SEED}), {args.size[0]}x{args.size[1]}, {args.instances} instances",
                method=partial(prepare, args.device),
                peer=partial(prepare_detectron2, args.size, args.instances, args.device),
                equal="the CPU's result",
                assert_equal=partial(_assert_cpu_result, prepare),
            )
        )
    step = partial(prepare_step, args.device)
    comparisons.append(
        Comparison(
            name=f"training step, {BATCH} images",
            against="Detectron2's PanopticFPN with SemSegFPNHead",
            inputs=f"Toyscapes scenes (standard, seed {SEED}), {STEP_SIZE[0]}x{STEP_SIZE[1]}, with {CONFIG.name}, in "
            "mixed precision, the method with channels last",
            method=partial(step, peer=False),
            peer=partial(step, peer=True),
            equal="detector losses, to 10 %",
            assert_equal=partial(assert_equal_detector_losses, tolerance=0.1),
        )
    )
    return comparisons


def _assert_cpu_result(prepare: Callable[[str], Call], method: Any, peer: Any) -> None:
    """Assert that the result of the fusion is that of the CPU; the peer's differs by its rule."""
    assert_same_fusion(method, prepare("cpu")())


def prepare_step(device: str, peer: bool) -> TrainingStep:
    """Prepare a training step in the memory format and precision of STEP_KEYS, of the method or the peer."""
    is_pretended = torch.device(device).type == NAME
    cfg = read_config(CONFIG, "cpu" if is_pretended else device, STEP_KEYS if is_pretended else (*STEP_KEYS, *MIXED))
    model = build_peer(cfg) if peer else build_unified(cfg)
    model = move_module(model) if is_pretended else model
    batch = make_batch(cfg, STEP_SIZE, BATCH, peer)
    return TrainingStep(model, build_optimizer(cfg, model), batch, get_autocast_dtype(cfg))


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
    run = [sys.executable, "tools/train_net.py", "--config-file", str(CONFIG), "--set-aside"]
    run += ["MODEL.DEVICE", device, *TRAINING, *TRAINING_SIZES, "OUTPUT_DIR", str(data.parents[1] / "run")]
    subprocess.run(make, cwd=ROOT, check=True)
    subprocess.run(["env", f"DETECTRON2_DATASETS={data.parent}", *run], cwd=ROOT, check=True)
