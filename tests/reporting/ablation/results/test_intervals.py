"""Intervals from the files of two evaluations, whose images may be in different orders."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unified_seg.evaluation.instances.matches import write_matches
from unified_seg.ops.metrics.average_precision import RIGHT, InstanceMatches
from unified_seg.reporting.ablation.finished_run import FinishedRun
from unified_seg.reporting.ablation.results.intervals import INTERVALS
from unified_seg.reporting.errors import ReportingError
from unified_seg_files import write_arrays

#: Half of the objects at precision 1: 51 of 101 recall levels.
HALF = 100 * 51 / 101


def write_run(folder: Path, found: dict[str, bool], ap: float) -> FinishedRun:
    """Write the matches of images with one object each, which is found or not."""
    image = np.flatnonzero(list(found.values()))
    zeros = np.zeros(len(found), np.int64)
    outcome = np.full((len(image), 10), RIGHT, np.int8)
    matches = InstanceMatches(
        image, zeros[: len(image)], np.full(len(image), 0.5), outcome, np.arange(len(found)), zeros
    )
    (folder / "inference" / "v").mkdir(parents=True)
    write_matches(folder / "inference" / "v" / "instance_matches.npz", list(found), matches)
    run = SimpleNamespace(folder=folder, row=SimpleNamespace(name="row"))
    return FinishedRun(run, None, {"v": {"segm": {"AP": ap}}})  # type: ignore[arg-type]


def test_ap_of_images_in_another_order(tmp_path: Path):
    # Both find the object of image a alone: whatever is drawn, there is no difference.
    method = write_run(tmp_path / "method", {"a": True, "b": False}, HALF)
    baseline = write_run(tmp_path / "baseline", {"b": False, "a": True}, HALF)
    interval = INTERVALS["ap"].compare([(method, baseline)], "v")
    assert interval is not None and (interval.mean, interval.low, interval.high) == (0, 0, 0)
    # And if the baseline finds that of image b alone, a draw of both makes up to 100 points.
    other = write_run(tmp_path / "other", {"b": True, "a": False}, HALF)
    interval = INTERVALS["ap"].compare([(method, other)], "v")
    assert interval is not None and (interval.mean, interval.low, interval.high) == pytest.approx((0, -100, 100))


def test_without_matches_there_is_no_interval(tmp_path: Path):
    runs = [write_run(tmp_path / name, {"a": True}, 100) for name in ("method", "baseline")]
    (tmp_path / "baseline" / "inference" / "v" / "instance_matches.npz").unlink()
    assert INTERVALS["ap"].compare([(runs[0], runs[1])], "v") is None


def test_matches_of_other_images_are_refused(tmp_path: Path):
    runs = [write_run(tmp_path / name, {name: True}, 100) for name in ("method", "baseline")]
    with pytest.raises(ReportingError, match=r"method and .*baseline: evaluated on different images"):
        INTERVALS["ap"].compare([(runs[0], runs[1])], "v")


def test_matches_that_contradict_the_results_are_refused(tmp_path: Path):
    run = write_run(tmp_path / "run", {"a": True}, 99)
    with pytest.raises(ReportingError, match=r"instance_matches\.npz: its numbers give mask AP 100\.0000, but .* 99"):
        INTERVALS["ap"].check(run, "v")


def test_a_damaged_file_is_named(tmp_path: Path):
    run = write_run(tmp_path / "run", {"a": True}, 100)
    write_arrays(tmp_path / "run" / "inference" / "v" / "instance_matches.npz", image_ids=["a"])
    with pytest.raises(ReportingError, match=r"instance_matches\.npz: not the matches .*image.* evaluate the run"):
        INTERVALS["ap"].check(run, "v")


def test_ap_of_the_images_that_are_kept(tmp_path: Path):
    run = write_run(tmp_path / "run", {"a": True, "b": False}, HALF)
    assert INTERVALS["ap"].score_without(run, "v", []) == pytest.approx(HALF)
    # The one object that is left is found, or is missed.
    assert INTERVALS["ap"].score_without(run, "v", ["b"]) == pytest.approx(100)
    assert INTERVALS["ap"].score_without(run, "v", ["a"]) == pytest.approx(0)


def test_mean_iou_of_the_images_that_are_kept(tmp_path: Path):
    (folder := tmp_path / "inference" / "v").mkdir(parents=True)
    # Image 1: 2 pixels of either class, all right. Image 2: 2 of either, all predicted as class 0.
    counts = np.array([[[2, 2], [2, 2], [2, 2]], [[2, 0], [4, 0], [2, 2]]])
    write_arrays(folder / "sem_seg.npz", image_ids=[1, 2], per_image=counts)
    # All: the IoU of class 0 is 4 / (4 + 2), of class 1 2 / 4. Without image 1: 2 / 4 and 0.
    score = 100 * (4 / 6 + 2 / 4) / 2
    run = FinishedRun(SimpleNamespace(folder=tmp_path), None, {"v": {"sem_seg": {"mIoU": score}}})  # type: ignore[arg-type]
    scores = [INTERVALS["miou"].score_without(run, "v", left_out) for left_out in ([], ["2"], ["1"])]
    assert scores == pytest.approx([score, 100, 25])


def test_unknown_image_can_not_be_left_out(tmp_path: Path):
    run = write_run(tmp_path / "run", {"a": True}, 100)
    with pytest.raises(ReportingError, match="v has no image c"):
        INTERVALS["ap"].score_without(run, "v", ["a", "c"])
