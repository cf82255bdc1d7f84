"""The stream of batches: the same with any number of workers, and from any position on."""

import itertools
import multiprocessing
import random
import subprocess
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import build_detection_train_loader
from detectron2.data.samplers import TrainingSampler
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.data.pipeline.stream.batches import BatchStream

RECORDS = [{"width": 3 + number % 3, "height": 4, "number": number} for number in range(7)]


def draw(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with random numbers of all libraries."""
    return {**record, "drawn": (random.random(), np.random.rand(), torch.rand(()).item())}


def make_stream(batch_size: int = 2, by_aspect_ratio: bool = True, num_workers: int = 0) -> BatchStream:
    return BatchStream(
        RECORDS,
        draw,
        lambda seeds: TrainingSampler(len(RECORDS), seed=seeds[0]),
        (5, 6),
        batch_size=batch_size,
        by_aspect_ratio=by_aspect_ratio,
        num_workers=num_workers,
    )


def take(stream: BatchStream, count: int) -> list[list[dict[str, Any]]]:
    return list(itertools.islice(stream, count))


@given(
    before=st.integers(0, 9),
    batch_size=st.integers(1, 4),
    by_aspect_ratio=st.booleans(),
    resumed_size=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_a_stream_goes_on_from_its_position(
    before: int, batch_size: int, by_aspect_ratio: bool, resumed_size: int
) -> None:
    whole = take(make_stream(batch_size, by_aspect_ratio), before + 4)
    stream = make_stream(batch_size, by_aspect_ratio)
    assert take(stream, before) == whole[:before]
    resumed = make_stream(batch_size, by_aspect_ratio)
    resumed.load_state_dict(stream.state_dict())
    assert resumed.state_dict() == stream.state_dict()
    assert take(resumed, 4) == whole[before:]
    # With batches of another size no image is lost or seen twice.
    other = make_stream(resumed_size, False)
    other.load_state_dict(stream.state_dict())
    batches = take(other, 12)
    state = other.state_dict()
    seen = [image["drawn"] for batch in whole[:before] + batches for image in batch]
    assert len(set(seen)) == len(seen) == state["next"] - len(state["waiting"])


def test_processes_draw_different_augmentations(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    for rank in range(2):
        monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda rank=rank: rank)
        drawn.append(take(make_stream(), 1)[0][0]["drawn"])
    assert drawn[0] != drawn[1]


def test_images_that_still_wait_stay_in_the_state() -> None:
    stream = make_stream(batch_size=1, by_aspect_ratio=False)
    stream.load_state_dict({"seeds": [5, 6], "next": 4, "waiting": [1, 2, 3]})
    take(stream, 1)
    assert stream.state_dict() == {"seeds": [5, 6], "next": 4, "waiting": [2, 3]}


def test_a_waiting_image_does_not_move_the_position_back() -> None:
    stream = make_stream(batch_size=1, by_aspect_ratio=False)
    stream.load_state_dict({"seeds": [5, 6], "next": 4, "waiting": [1]})
    take(stream, 1)
    assert (stream.state_dict()["next"], stream.state_dict()["waiting"]) == (4, [])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_stream(workers: int) -> None:
    plain, stream = make_stream(), make_stream(num_workers=workers)
    assert take(stream, 5) == take(plain, 5)
    assert stream.state_dict() == plain.state_dict()


def test_the_order_is_that_of_detectron2() -> None:
    sampler = TrainingSampler(len(RECORDS), seed=5)
    peer = build_detection_train_loader(RECORDS, mapper=dict, sampler=sampler, total_batch_size=2)
    expected = [[image["number"] for image in batch] for batch in itertools.islice(peer, 9)]
    assert [[image["number"] for image in batch] for batch in take(make_stream(), 9)] == expected


def test_random_numbers_of_the_training_stay() -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    expected = draw({})
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    stream = make_stream()
    torch.manual_seed(3)  # the constructor draws the seed of the workers
    take(stream, 3)
    assert draw({}) == expected


@pytest.mark.parametrize(
    "change", [{"next": -1}, {"next": "3"}, {"waiting": [9]}, {"waiting": None}, {"seeds": [1]}, {"seeds": [1, True]}]
)
def test_a_damaged_position_is_refused(change: dict[str, Any]) -> None:
    stream = make_stream()
    with pytest.raises(ValueError, match="damaged"):
        stream.load_state_dict({"seeds": [5, 6], "next": 4, "waiting": [3], **change})


def test_workers_go_on_after_a_signal_to_all_processes() -> None:
    # A scheduler that ends a job sends it to each of its processes.
    stream = make_stream(num_workers=2)
    batches = iter(stream)
    first = next(batches)
    workers = [str(worker.pid) for worker in multiprocessing.active_children()]
    subprocess.run(["kill", "-TERM", *workers], check=True)
    plain = iter(make_stream())
    assert [each["number"] for each in first] == [each["number"] for each in next(plain)]
    for _ in range(20):  # more than the workers had made before
        assert [each["number"] for each in next(batches)] == [each["number"] for each in next(plain)]
    for worker in multiprocessing.active_children():
        worker.terminate()  # as the interpreter does at its end; the iterator may live until then
        worker.join(10)
        assert not worker.is_alive()
