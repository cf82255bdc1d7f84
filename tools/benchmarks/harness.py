"""Ours against a peer: timed in turn in one process, the peak memory of each apart, one table and one JSON.

Machines are noisy, so the result of a comparison is a ratio of medians of calls that took turns.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from tqdm import tqdm

from unified_seg.data.io.text_files import write_json

from .memory import CPU_PEAK, CUDA_PEAK, peak_on_cpu, peak_on_cuda

WARM_UP_CALLS = 2

#: What is timed; its result is what equality is asserted on.
Call = Callable[[], Any]
#: Makes the inputs and whatever else is not timed, and returns what is. A process of its own must be able to call it,
#: so it is a function of a module, or a partial of one with plain arguments.
Prepare = Callable[[], Call]


@dataclass(frozen=True)
class Comparison:
    """One line of a benchmark.

    Attributes:
        name: of what both do, and of ours.
        against: the peer, in words.
        inputs: the fixed inputs, in words, with their seed.
        ours, peer: the two to time.
        equal: which results of the two are equal, in words.
        assert_equal: is given the result of ours and of the peer, and raises AssertionError where those differ; called
            before the timing.
    """

    name: str
    against: str
    inputs: str
    ours: Prepare
    peer: Prepare
    equal: str
    assert_equal: Callable[[Any, Any], None]


@dataclass(frozen=True)
class Measurement:
    """The result of a comparison; times in milliseconds, memory in 10^6 bytes.

    Attributes:
        ours_ms, peer_ms: medians over the repeats.
        ours_quartiles_ms, peer_quartiles_ms: (lower, upper).
        ratio: peer_ms / ours_ms, above 1 where ours is faster.
        ratio_quartiles: (lower, upper) of the ratios of the pairs of neighboring calls.
        ours_peak_mb, peer_peak_mb: memory in use during one call beyond that before it; None where the system does not
            tell.
        equal: what was asserted to be equal.
        repeats: timed calls of each.
    """

    name: str
    against: str
    inputs: str
    ours_ms: float
    peer_ms: float
    ratio: float
    ours_quartiles_ms: tuple[float, float]
    peer_quartiles_ms: tuple[float, float]
    ratio_quartiles: tuple[float, float]
    ours_peak_mb: float | None
    peer_peak_mb: float | None
    equal: str
    repeats: int


def measure(comparison: Comparison, device: str, repeats: int, threads: int) -> Measurement:
    """Assert equality, then measure memory, then time.

    Args:
        comparison: what to measure.
        device: "cpu" or a CUDA device, on which `ours` and `peer` work.
        repeats: timed calls of each.
        threads: torch's threads on the CPU.

    Raises:
        AssertionError: results differ that must be equal.
    """
    torch.set_num_threads(threads)
    ours, peer = comparison.ours(), comparison.peer()
    comparison.assert_equal(ours(), peer())
    peaks: list[float | None]
    if torch.device(device).type == "cuda":
        peaks = [peak_on_cuda(call, device) for call in (ours, peer)]
    else:
        peaks = [peak_on_cpu(side, threads) for side in (comparison.ours, comparison.peer)]
    ours_times, peer_times = take_turns(ours, peer, repeats, clock_of(device))
    ours_ms, peer_ms = statistics.median(ours_times), statistics.median(peer_times)
    return Measurement(
        name=comparison.name,
        against=comparison.against,
        inputs=comparison.inputs,
        ours_ms=ours_ms,
        peer_ms=peer_ms,
        ratio=peer_ms / ours_ms,
        ours_quartiles_ms=quartiles(ours_times),
        peer_quartiles_ms=quartiles(peer_times),
        ratio_quartiles=quartiles([peer_time / our_time for our_time, peer_time in zip(ours_times, peer_times)]),
        ours_peak_mb=peaks[0],
        peer_peak_mb=peaks[1],
        equal=comparison.equal,
        repeats=repeats,
    )


def take_turns(ours: Call, peer: Call, repeats: int, clock: Callable[[Call], float]) -> tuple[list[float], list[float]]:
    """Times of both, `repeats` of each, in the order ours, peer, peer, ours, ours, peer, ...

    A drift of the machine (heat, neighbors) then costs both the same. Each timed call follows an untimed one of the
    same: neither pays for giving the other's memory back.
    """
    for _ in range(WARM_UP_CALLS):
        ours()
        peer()
    ours_times: list[float] = []
    peer_times: list[float] = []
    for repeat in tqdm(range(repeats), unit="pair", desc="timing", leave=False):
        pair = [(ours, ours_times), (peer, peer_times)]
        for call, times in pair if repeat % 2 == 0 else reversed(pair):
            call()
            times.append(clock(call))
    return ours_times, peer_times


def take_times(call: Call, repeats: int, clock: Callable[[Call], float]) -> list[float]:
    """Times of one thing alone, called before, untimed."""
    for _ in range(WARM_UP_CALLS):
        call()
    return [clock(call) for _ in range(repeats)]


def clock_of(device: str) -> Callable[[Call], float]:
    """What times one call on this device, in milliseconds."""
    return partial(cuda_milliseconds, device=device) if torch.device(device).type == "cuda" else cpu_milliseconds


def cpu_milliseconds(call: Call) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def cuda_milliseconds(call: Call, device: str) -> float:
    """By events on the device's current stream, from an idle device until all of the call's work is done."""
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end)


def quartiles(times: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper quartile; a single time is both."""
    if len(times) == 1:
        return times[0], times[0]
    lower, _, upper = statistics.quantiles(times, n=4, method="inclusive")
    return lower, upper


def as_table(measurements: Sequence[Measurement], device: str, machine: str) -> str:
    """The measurements for people."""
    lines = [
        [
            each.name,
            _with_spread(each.ours_ms, each.ours_quartiles_ms, ".4g"),
            _with_spread(each.peer_ms, each.peer_quartiles_ms, ".4g"),
            _with_spread(each.ratio, each.ratio_quartiles, ".2f"),
            _memory(each.ours_peak_mb),
            _memory(each.peer_peak_mb),
            each.equal,
        ]
        for each in measurements
    ]
    headers = ["", "ours, ms", "peer, ms", "peer / ours", "ours, peak MB", "peer, peak MB", "asserted equal"]
    notes = [f"{each.name}: against {each.against}, on {each.inputs}" for each in measurements]
    notes += [
        f"times: median [quartiles] of {measurements[0].repeats} calls each, in turn; the ratio of the medians, "
        "and [quartiles] of the ratios of pairs",
        f"peaks: {CUDA_PEAK if torch.device(device).type == 'cuda' else CPU_PEAK}",
        f"machine: {machine}",
    ]
    return "\n".join([tabulate(lines, headers, disable_numparse=True), "", *notes])


def save_measurements(path: Path, measurements: Sequence[Measurement], device: str, machine: str) -> None:
    """The measurements for programs, a JSON file: a list of objects, each with the machine."""
    peak_by = CUDA_PEAK if torch.device(device).type == "cuda" else CPU_PEAK
    facts = {"device": device, "machine": machine, "peak_by": peak_by}
    write_json(path, [{**asdict(each), **facts} for each in measurements])


def _with_spread(value: float, spread: tuple[float, float], form: str) -> str:
    return f"{value:{form}} [{spread[0]:{form}}, {spread[1]:{form}}]"


def _memory(megabytes: float | None) -> str:
    return "–" if megabytes is None else f"{megabytes:.1f}"
