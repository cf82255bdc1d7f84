"""The choice of images that are not alike."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.reporting.diversity import CANDIDATES, choose_diverse


def test_duplicates_of_the_first_image_come_last() -> None:
    # Directions: three alike, one at 45 degrees, one at 90; lengths do not count.
    features = np.array([[1, 0], [2, 0], [1, 0.01], [3, 3], [0, 1]], dtype=np.float32)
    assert choose_diverse(features, 1) == [0]
    assert choose_diverse(features, 2) == [0, 4]
    assert choose_diverse(features, 3) == [0, 3, 4]
    assert choose_diverse(features, 9) == [0, 1, 2, 3, 4]


def test_only_uncertain_images_are_candidates() -> None:
    features = np.ones((CANDIDATES + 1, 2))
    features[CANDIDATES] = 1, -1  # very different, but not among the first
    features[1] = 1, 0.9
    assert choose_diverse(features, 1) == [0]
    assert choose_diverse(np.repeat(features[:1], 3, axis=0), 2) == [0, 1]
    assert CANDIDATES not in choose_diverse(features, 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 100))
def test_each_step_takes_the_farthest(images: int, count: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(images, 3))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    chosen = [0]
    candidates = range(min(images, CANDIDATES * count))
    while len(chosen) < min(count, images):
        rest = [i for i in candidates if i not in chosen]
        chosen.append(max(rest, key=lambda i: min(1 - unit[i] @ unit[j] for j in chosen)))
    assert choose_diverse(features, count) == sorted(chosen)
