"""Stages in threads: what they see, in what order, and what becomes of errors."""

import threading
import time

import pytest

from unified_seg.inference.pipeline import Stage, run_pipeline


def run(items, *functions, ahead=4):
    return run_pipeline(items, *map(Stage, functions), ahead=ahead)


def test_results_come_in_order_through_all_stages():
    slow_first = lambda i: time.sleep(0.02 * (i == 0)) or i + 1  # noqa: E731
    results = [(item, future.result()) for item, future in run(range(20), slow_first, str, "<{}>".format)]
    assert results == [(i, f"<{i + 1}>") for i in range(20)]


def test_stages_work_on_different_items_at_the_same_time():
    """The first stage waits in each item but its first for the second one, at work on the item before."""
    meet = threading.Barrier(2, timeout=10)

    def first(i):
        if i > 0:
            meet.wait()
        return i

    def second(i):
        if i < 4:
            meet.wait()
        return i

    assert [future.result() for _, future in run(range(5), first, second)] == list(range(5))


def test_threads_of_a_stage_work_at_the_same_time_and_results_stay_in_order():
    meet = threading.Barrier(2, timeout=10)
    both = Stage(lambda i: (meet.wait(), time.sleep(0.01 * (i % 2 == 0)), i)[-1], threads=2)
    steps = run_pipeline(range(6), both, Stage(str), ahead=4)
    assert [future.result() for _, future in steps] == list("012345")


def test_each_thread_is_prepared():
    local = threading.local()
    stage = Stage(lambda i: local.value + i, threads=3, prepare=lambda: setattr(local, "value", 5))
    assert [future.result() for _, future in run_pipeline(range(9), stage, ahead=3)] == list(range(5, 14))


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_items_are_begun_than_allowed(ahead):
    begun, most = [], []
    for index, _ in run(range(12), begun.append, ahead=ahead):
        time.sleep(0.002)
        most.append(len(begun) - index)
    assert max(most) <= ahead


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_an_error_belongs_to_its_item(stage):
    def fails(i):
        if i == 3:
            raise ValueError("no image")
        return i

    stages = [fails if index == stage else lambda i: i for index in range(3)]
    outcomes = dict(run(range(6), *stages))
    with pytest.raises(ValueError, match="no image"):
        outcomes.pop(3).result()
    assert {item: future.result() for item, future in outcomes.items()} == {i: i for i in (0, 1, 2, 4, 5)}


def test_ending_early_begins_no_further_item():
    begun = []
    for index, _ in run(range(1000), begun.append, lambda _: time.sleep(0.001), ahead=3):
        if index == 4:
            break
    time.sleep(0.02)
    assert len(begun) <= 4 + 3 + 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stage")]


def test_an_error_of_the_caller_ends_the_threads():
    with pytest.raises(RuntimeError, match="stop"):
        for _ in run(range(10), str):
            raise RuntimeError("stop")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stage")]
