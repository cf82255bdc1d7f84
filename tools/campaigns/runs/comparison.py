"""What a run has written, in a form in which two runs can be compared."""

import json
from pathlib import Path
from typing import Any

import torch

from campaigns.runs.tiny_run import EVENTS, PERIOD, STAGE_ITERATIONS, STAGES
from unified_seg.checkpoint import read_checkpoint

# What two runs without a difference share, but for what differs between them by itself: their folders and times.
COMPARED = ("model", "trainer", "iteration", "processes")
OWN = {"config", "train_s"}


def describe_difference(run: Path, expected: Path) -> str | None:
    """Return how a run differs from one without interruptions, None if it has the same weights, states and images."""
    for folder in (".", *STAGES[:-1]):
        file = Path(folder) / "model_final.pth"
        if not (expected / file).exists():
            continue
        if not (run / file).exists():
            return f"{file} is missing"
        one, other = (_select_compared(read_checkpoint(each / file)) for each in (run, expected))
        if (path := find_difference(one, other)) is not None:
            return f"{file}: {path} differs"
        if (fault := _check_metrics(run / folder / "metrics.json")) is not None:
            return fault
    if _read_images(run) != _read_images(expected):
        return "the images of the steps differ"
    return None


def describe_loss(run: Path) -> str | None:
    """Return what a run lost when it was resumed, None if never more than the interval of its checkpoints.

    A stage may only follow one that is complete.
    """
    stage, done = "", dict.fromkeys(STAGES, 0)
    for event in read_events(run):
        if "start" not in event:
            done[event["stage"]] = max(done[event["stage"]], event["iteration"] + 1)
            continue
        start, earlier, stage = event["start"], stage, event["stage"]
        if done[stage] - start > PERIOD:
            return f"stage {stage!r} went back from {done[stage]} iterations to {start}"
        if stage != earlier and earlier and done[earlier] < STAGE_ITERATIONS:
            return f"stage {stage!r} followed {earlier!r} after {done[earlier]} iterations"
    return None


def read_events(run: Path) -> list[dict[str, Any]]:
    file = run / EVENTS
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _select_compared(state: dict[str, Any]) -> dict[str, Any]:
    trainer = {key: value for key, value in state["trainer"].items() if key not in OWN}
    return {**{key: state[key] for key in COMPARED}, "trainer": trainer}


def find_difference(one: Any, other: Any, path: str = "") -> str | None:
    """Return the path of the first value that is not the same to the last bit."""
    if isinstance(one, torch.Tensor):
        return None if isinstance(other, torch.Tensor) and torch.equal(one, other) else path
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = ((str(key), one[key], other[key]) for key in one)
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = ((str(number), *both) for number, both in enumerate(zip(one, other)))
    else:
        return None if one == other else path
    return next((found for key, a, b in pairs if (found := find_difference(a, b, f"{path}/{key}"))), None)


def _check_metrics(file: Path) -> str | None:
    try:
        iterations = [json.loads(line)["iteration"] for line in file.read_text().splitlines()]
    except (OSError, ValueError, KeyError) as error:
        return f"metrics.json is damaged: {error!r}"
    return None if len(set(iterations)) == len(iterations) else f"metrics.json has lines twice: {iterations}"


def _read_images(run: Path) -> dict[tuple[str, int], set[tuple[str, ...]]]:
    """Return the images of each step; a step that was done twice with other images has two entries."""
    images: dict[tuple[str, int], set[tuple[str, ...]]] = {}
    for event in read_events(run):
        if "images" in event:
            images.setdefault((event["stage"], event["iteration"]), set()).add(tuple(event["images"]))
    return images
