"""Matches in a file: the AP computed from them is that of the evaluation, whatever images are drawn."""

from pathlib import Path

import numpy as np
import pytest
from random_instances import draw_images, draw_toyscapes

from unified_seg.evaluation.instances.average_precision import compute_average_precision, match_instances
from unified_seg.evaluation.instances.matches import collect_matches, read_matches, write_matches
from unified_seg.evaluation.instances.objects import ImageInstances
from unified_seg.ops.metrics.average_precision import InstanceMatches, compute_resampled_ap
from unified_seg_files import write_arrays


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_ap_is_that_of_the_evaluation(task: str):
    """Also with crowds, equal scores, images without objects or detections, and few detections that count."""
    for seed in range(60):
        images, names, limit = draw_images(seed)
        matches = match_instances(images, task, names, limit)
        expected = compute_average_precision(matches, names)["AP"]
        found = compute_resampled_ap(collect_matches(matches), np.ones((1, len(images)), dtype=np.int64))
        assert found == pytest.approx([expected], nan_ok=True), seed


def test_ap_of_drawn_images_is_that_of_a_data_set_of_them():
    images, names = draw_toyscapes(8, (64, 128))
    random = np.random.default_rng(0)
    images = [_with_distinct_scores(image, random) for image in images]
    drawn = random.multinomial(len(images), np.full(len(images), 1 / len(images)), size=20)
    found = compute_resampled_ap(collect_matches(match_instances(images, "segm", names)), drawn)
    for counts, ap in zip(drawn, found):
        repeated = [image for image, count in zip(images, counts) for _ in range(count)]
        expected = compute_average_precision(match_instances(repeated, "segm", names), names)["AP"]
        assert ap == pytest.approx(expected)


def test_file_has_the_matches(tmp_path: Path):
    images, names = draw_toyscapes(3, (64, 128))
    matches = collect_matches(match_instances(images, "segm", names))
    write_matches(tmp_path / "matches.npz", ["a", "b", "c"], matches)
    ids, read = read_matches(tmp_path / "matches.npz")
    assert ids.tolist() == ["a", "b", "c"] and len(read.score) > 0
    for expected, array in zip(matches, read):
        assert np.array_equal(expected, array) and expected.dtype == array.dtype


@pytest.mark.parametrize(
    "name, value",
    [
        ("image", np.array([3])),
        ("image", np.array([-1])),
        ("thing_id", np.array([0.5])),
        ("score", np.array([0.5, 0.5])),
        ("outcome", np.array([[2]], np.int8)),
        ("outcome", np.array([1], np.int8)),
        ("object_image", np.array([0, 0])),
        ("image_ids", np.array([0.5])),
    ],
)
def test_file_with_other_arrays_is_refused(tmp_path: Path, name: str, value: np.ndarray):
    one = np.array([0])
    matches = InstanceMatches(one, one, np.array([0.5]), np.ones((1, 10), np.int8), one, one)
    arrays = {"image_ids": np.array([1]), **matches._asdict()}
    write_arrays(tmp_path / "matches.npz", **arrays)
    read_matches(tmp_path / "matches.npz")
    write_arrays(tmp_path / "matches.npz", **arrays | {name: value})
    with pytest.raises(ValueError, match="not the matches of an evaluation"):
        read_matches(tmp_path / "matches.npz")


def _with_distinct_scores(image: ImageInstances, random: np.random.Generator) -> ImageInstances:
    """With equal scores the order, and so AP, depends on the order of the images."""
    return image._replace(detections=[each._replace(score=float(random.random())) for each in image.detections])
