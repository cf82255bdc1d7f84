"""Time and memory of a method against a peer: calls of both in turn in one process, a table and a JSON file.

Machines are noisy, so the result is the ratio of the medians of calls that took turns.
"""

import os
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
from unified_seg.errors import UserError

from .memory import CPU_PEAK, CUDA_PEAK, peak_on_cpu, peak_on_cuda

WARM_UP_CALLS = 2

#: A call to time; the results of method and peer are asserted to be equal.
Call = Callable[[], Any]
#: Makes the inputs, which is not timed, and returns the call to time. It must be picklable for another process: a
#: function of a module, or a partial of one with plain arguments.
Prepare = Callable[[], Call]


@dataclass(frozen=True)
class Comparison:
    """One line of a benchmark.

    Attributes:
        name: the task and the method.
        against: the peer, in words.
        inputs: the fixed inputs, in words, with their seed.
        method: prepares the call of this library.
        peer: prepares the call of the peer.
        equal: the results that are equal, in words.
        assert_equal: called before the timing with the results of both; raises AssertionError if they differ.
        starts_anew: each call starts processes of its own, so that no call must come before one that is timed, and the
            memory of this process tells nothing.
    """

    name: str
    against: str
    inputs: str
    method: Prepare
    peer: Prepare
    equal: str
    assert_equal: Callable[[Any, Any], None]
    starts_anew: bool = False


@dataclass(frozen=True)
class Measurement:
    """The result of a comparison; times in milliseconds, memory in 10^6 bytes.

    Attributes:
        method_ms, peer_ms: medians over the repeats.
        method_quartiles_ms, peer_quartiles_ms: (lower, upper).
        ratio: peer_ms / method_ms, above 1 if the method is faster.
        ratio_quartiles: (lower, upper) of the ratios of neighboring calls.
        method_peak_mb, peer_peak_mb: peak memory of one call above the memory before it; None if it was not measured,
            as on systems that do not report it.
        equal: the results that were asserted to be equal.
        repeats: number of timed calls of each.
    """

    name: str
    against: str
    inputs: str
    method_ms: float
    peer_ms: float
    ratio: float
    method_quartiles_ms: tuple[float, float]
    peer_quartiles_ms: tuple[float, float]
    ratio_quartiles: tuple[float, float]
    method_peak_mb: float | None
    peer_peak_mb: float | None
    equal: str
    repeats: int


def check_size(size: tuple[int, int], stride: int) -> None:
    """Raise UserError if the size is not a multiple of the stride, as peers that resize logits need it."""
    if size[0] % stride or size[1] % stride:
        raise UserError(f"--size: must be multiples of {stride} pixels for the peers, got {size[0]}x{size[1]}")


def set_hotcoco_threads(threads: int) -> None:
    """Set the number of hotcoco's threads, which it reads at its first call in a process."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)


def measure(comparison: Comparison, device: str, repeats: int, threads: int) -> Measurement:
    """Assert equality, then measure memory, then time.

    Args:
        comparison: what to measure.
        device: "cpu" or the CUDA device that method and peer use.
        repeats: number of timed calls of each.
        threads: PyTorch's threads on the CPU.

    Raises:
        AssertionError: results that must be equal differ.
    """
    torch.set_num_threads(threads)
    method, peer = comparison.method(), comparison.peer()
    comparison.assert_equal(method(), peer())
    peaks: list[float | None] = [None, None]
    kind = torch.device(device).type if not comparison.starts_anew else ""
    if kind == "cuda":
        peaks = [peak_on_cuda(call, device) for call in (method, peer)]
    elif kind == "cpu":
        peaks = [peak_on_cpu(side, threads) for side in (comparison.method, comparison.peer)]
    method_times, peer_times = take_turns(method, peer, repeats, choose_clock(device), not comparison.starts_anew)
    method_ms, peer_ms = statistics.median(method_times), statistics.median(peer_times)
    return Measurement(
        name=comparison.name,
        against=comparison.against,
        inputs=comparison.inputs,
        method_ms=method_ms,
        peer_ms=peer_ms,
        ratio=peer_ms / method_ms,
        method_quartiles_ms=quartiles(method_times),
        peer_quartiles_ms=quartiles(peer_times),
        ratio_quartiles=quartiles(
            [peer_time / method_time for method_time, peer_time in zip(method_times, peer_times)]
        ),
        method_peak_mb=peaks[0],
        peer_peak_mb=peaks[1],
        equal=comparison.equal,
        repeats=repeats,
    )


def take_turns(
    method: Call, peer: Call, repeats: int, clock: Callable[[Call], float], untimed: bool = True
) -> tuple[list[float], list[float]]:
    """Time both, `repeats` calls of each, in the order method, peer, peer, method, method, peer, ...

    A drift of the machine (heat, other processes) then affects both alike. Each timed call follows an untimed call of
    the same side, so that no side pays for returning the memory of the other, unless `untimed` is False.
    """
    for _ in range(WARM_UP_CALLS if untimed else 0):
        method()
        peer()
    method_times: list[float] = []
    peer_times: list[float] = []
    for repeat in tqdm(range(repeats), unit="pair", desc="timing", leave=False):
        pair = [(method, method_times), (peer, peer_times)]
        for call, times in pair if repeat % 2 == 0 else reversed(pair):
            if untimed:
                call()
            times.append(clock(call))
    return method_times, peer_times


def take_times(call: Call, repeats: int, clock: Callable[[Call], float]) -> list[float]:
    """Time `repeats` calls, after some untimed ones."""
    for _ in range(WARM_UP_CALLS):
        call()
    return [clock(call) for _ in range(repeats)]


def choose_clock(device: str) -> Callable[[Call], float]:
    """Return the function that times one call on this device, in milliseconds."""
    return partial(time_on_cuda, device=device) if torch.device(device).type == "cuda" else time_on_cpu


def time_on_cpu(call: Call) -> float:
    """Return the time of a call in milliseconds."""
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def time_on_cuda(call: Call, device: str) -> float:
    """Return the time of a call in milliseconds, by events on the current stream of an idle device."""
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end)


def quartiles(times: Sequence[float]) -> tuple[float, float]:
    """Return the lower and the upper quartile, which are equal for a single time."""
    if len(times) == 1:
        return times[0], times[0]
    lower, _, upper = statistics.quantiles(times, n=4, method="inclusive")
    return lower, upper


def as_table(measurements: Sequence[Measurement], device: str, machine: str) -> str:
    """Format the measurements as text."""
    lines = [
        [
            each.name,
            with_spread(each.method_ms, each.method_quartiles_ms, ".4g"),
            with_spread(each.peer_ms, each.peer_quartiles_ms, ".4g"),
            with_spread(each.ratio, each.ratio_quartiles, ".2f"),
            format_memory(each.method_peak_mb),
            format_memory(each.peer_peak_mb),
            each.equal,
        ]
        for each in measurements
    ]
    headers = ["", "method, ms", "peer, ms", "peer / method", "method, peak MB", "peer, peak MB", "asserted equal"]
    notes = [f"{each.name}: against {each.against}, on {each.inputs}" for each in measurements]
    notes += [
        f"times: median [quartiles] of {measurements[0].repeats} calls each, in turn; the ratio of the medians, "
        "and [quartiles] of the ratios of pairs",
        f"peaks: {CUDA_PEAK if torch.device(device).type == 'cuda' else CPU_PEAK}",
        f"machine: {machine}",
    ]
    return "\n".join([tabulate(lines, headers, disable_numparse=True), "", *notes])


def save_measurements(path: Path, measurements: Sequence[Measurement], device: str, machine: str, command: str) -> None:
    """Write the measurements as JSON: a list of objects, each with the machine and the command line."""
    peak_by = CUDA_PEAK if torch.device(device).type == "cuda" else CPU_PEAK
    facts = {"device": device, "machine": machine, "peak_by": peak_by, "command": command}
    # The keys of published files begin with "ours_".
    rows = [{key.replace("method_", "ours_"): value for key, value in asdict(each).items()} for each in measurements]
    write_json(path, [{**row, **facts} for row in rows])


def with_spread(value: float, spread: tuple[float, float], form: str) -> str:
    return f"{value:{form}} [{spread[0]:{form}}, {spread[1]:{form}}]"


def format_memory(megabytes: float | None, form: str = ".1f") -> str:
    return "–" if megabytes is None else format(megabytes, form)
