import pickle
from dataclasses import replace

import pytest
import torch
from benchmarks.pretend_device import DEVICE, PretendDevice
from hypothesis import given, settings
from hypothesis import strategies as st
from resize_logits import resize
from torch import Tensor

from unified_seg.ops import resampling
from unified_seg.ops.windows import SlidingWindows
from unified_seg.structures.logit_map import LogitEnsemble, LogitMap


def random_logits(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Windows:
    """Crops windows of known logits, and counts them."""

    def __init__(self, logits: Tensor, stride: int):
        self.logits = logits
        self.stride = stride
        self.count = 0

    def __call__(self, rows: slice, columns: slice) -> Tensor:
        self.count += 1
        y, x = (slice(side.start // self.stride, side.stop // self.stride) for side in (rows, columns))
        return self.logits[:, y, x]


def map_in_windows(logits: Tensor, input_size: tuple[int, int]) -> tuple[LogitMap, Windows]:
    """Return a map of logits at stride 2 in windows of 8 pixels, with steps of 4; 5 x 7 steps have 4 x 6 windows."""
    windows = Windows(logits, 2)
    return LogitMap.from_windows(windows, SlidingWindows(8, 0.5, 4), 2, input_size), windows


OUTPUT = st.tuples(st.integers(1, 70), st.integers(1, 50))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 16), st.integers(1, 20), OUTPUT, st.integers(0, 99))
def test_map_of_logits_is_resampled(height: int, width: int, output_size: tuple[int, int], seed: int) -> None:
    logits = random_logits(4, 8, 10, seed=seed)
    expected = resize(logits, 2, (height, width), output_size)
    whole = LogitMap.from_logits(logits, 2, (height, width))
    assert torch.equal(whole.logits(output_size), expected)
    torch.testing.assert_close(whole.confidence(output_size), expected.softmax(0).amax(0))
    assert (expected.amax(0) - expected.gather(0, whole.labels(output_size).long()[None])[0] < 1e-5).all()


@pytest.mark.parametrize("stripe_values", [1, 4 * 21 * 5, 10**6])
def test_entropy_is_that_of_the_softmax(stripe_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "STRIPE_VALUES", stripe_values)
    logits = random_logits(4, 8, 10)
    whole = LogitMap.from_logits(logits, 2, (15, 19))
    probabilities = whole.logits((17, 21)).softmax(0)
    expected = torch.distributions.Categorical(probabilities.permute(1, 2, 0)).entropy() / torch.tensor(4.0).log()
    torch.testing.assert_close(whole.entropy((17, 21)), expected)


def test_one_class_has_entropy_0() -> None:
    assert not LogitMap.from_logits(torch.randn(1, 2, 3), 4, (8, 12)).entropy((8, 12)).any()


def test_map_of_logits_can_be_pickled() -> None:
    logits = torch.randn(2, 3, 4)
    _, rows = next(pickle.loads(pickle.dumps(LogitMap.from_logits(logits, 4, (12, 16)))).bands())
    assert torch.equal(rows, logits)


def test_entropy_by_hand() -> None:
    # Two of four classes are equally likely, the others impossible: log 2 / log 4. All equal: 1. One alone: 0.
    logits = torch.tensor([[0.0, 5.0, 300.0], [0.0, 5.0, 0.0], [-300.0, 5.0, 0.0], [-300.0, 5.0, -300.0]])[:, None]
    assert LogitMap.from_logits(logits, 1, (1, 3)).entropy((1, 3)).tolist() == [pytest.approx([0.5, 1.0, 0.0])]


def test_probability_is_the_sigmoid_of_one_logit() -> None:
    # One row at stride 2 has its columns at -0.25, 0.25, 0.75 and 1.25, so logits 0, 1, 3, 4.
    whole = LogitMap.from_logits(torch.tensor([[[0.0, 4.0]]]), 2, (2, 4))
    probability = whole.probability((1, 4))
    assert probability.dtype == torch.float32
    torch.testing.assert_close(probability, torch.tensor([[0.0, 1.0, 3.0, 4.0]]).sigmoid())
    with pytest.raises(ValueError, match="got 2"):
        LogitMap.from_logits(torch.zeros(2, 1, 2), 2, (2, 4)).probability((1, 4))


@settings(max_examples=60, deadline=None)
@given(st.integers(17, 20), st.integers(25, 28), OUTPUT, st.booleans(), st.integers(0, 99))
def test_windows_equal_the_whole_map(
    height: int, width: int, output_size: tuple[int, int], mirrored: bool, seed: int
) -> None:
    logits = random_logits(4, 10, 14, seed=seed)
    whole = LogitMap.from_logits(logits, 2, (height, width), mirrored)
    in_windows = replace(map_in_windows(logits, (height, width))[0], mirrored=mirrored)
    assert in_windows.grid_size == whole.grid_size
    expected = whole.logits(output_size).softmax(0)
    torch.testing.assert_close(in_windows.logits(output_size).softmax(0), expected)
    torch.testing.assert_close(in_windows.confidence(output_size), expected.amax(0))
    labels = in_windows.labels(output_size).long()
    assert labels.shape == output_size
    assert (expected.gather(0, labels[None])[0] > expected.amax(0) - 1e-5).all()
    torch.testing.assert_close(in_windows.to_memory().logits(output_size), in_windows.logits(output_size))


def test_map_in_memory_predicts_no_window_again() -> None:
    in_windows, windows = map_in_windows(random_logits(4, 10, 14), (20, 28))
    in_windows.labels((20, 28))
    assert windows.count == 4 * 6
    kept = in_windows.to_memory()
    assert windows.count == 2 * 4 * 6
    for read in (kept.labels, kept.confidence, kept.logits, kept.to_memory().labels):
        read((20, 28))
    assert windows.count == 2 * 4 * 6


def test_to_memory_does_not_copy_logits() -> None:
    logits = random_logits(2, 3, 3)
    ((first, rows),) = LogitMap.from_logits(logits, 1, (3, 3)).to_memory().bands()
    assert first == 0 and rows.data_ptr() == logits.data_ptr()


def test_one_row_of_windows_equals_the_whole_map() -> None:
    logits = random_logits(4, 4, 14)
    in_windows, _ = map_in_windows(logits, (8, 28))
    torch.testing.assert_close(
        in_windows.to_memory().logits((8, 28)).softmax(0), resize(logits, 2, (8, 28), (8, 28)).softmax(0)
    )


def test_mirrored_map_by_hand() -> None:
    # The network saw columns c b a of an image a b c, and a column of padding; stride 2, logits 0 and 4.
    # Unmirrored its columns are at -0.25, 0.25 and 0.75 of the logits: 0 (clamped), 1, 3. The image has them reversed.
    logits = torch.tensor([[[0.0, 4.0]]])
    assert LogitMap.from_logits(logits, 2, (2, 3), mirrored=True).logits((2, 3)).tolist() == [[[3.0, 1.0, 0.0]] * 2]
    # With a second class of 2 everywhere the first one wins at 3 alone.
    two = torch.cat([torch.full((1, 1, 2), 2.0), logits])
    assert LogitMap.from_logits(two, 2, (2, 3), mirrored=True).labels((1, 3)).tolist() == [[1, 0, 0]]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 16), st.integers(1, 20), OUTPUT, st.integers(0, 99))
def test_mirrored_map_is_flipped(height: int, width: int, output_size: tuple[int, int], seed: int) -> None:
    whole = LogitMap.from_logits(random_logits(4, 8, 10, seed=seed), 2, (height, width))
    mirrored = replace(whole, mirrored=True)
    assert torch.equal(mirrored.labels(output_size), whole.labels(output_size).flip(1))
    torch.testing.assert_close(mirrored.confidence(output_size), whole.confidence(output_size).flip(1))
    torch.testing.assert_close(mirrored.logits(output_size), whole.logits(output_size).flip(2))


@pytest.mark.parametrize("stripe_values", [1, 4 * 21 * 5, 10**6])
def test_ensemble_is_the_mean_of_probabilities(stripe_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "STRIPE_VALUES", stripe_values)
    a, b, c = random_logits(4, 8, 10), random_logits(4, 16, 20, seed=1), random_logits(4, 10, 14, seed=2)
    in_windows, _ = map_in_windows(c, (18, 27))
    ensemble = LogitEnsemble(
        [LogitMap.from_logits(a, 2, (15, 19)), LogitMap.from_logits(b, 2, (30, 38), True), in_windows]
    )
    size = (17, 21)
    parts = [
        resize(a, 2, (15, 19), size),
        resize(b, 2, (30, 38), size).flip(2),
        resize(c, 2, (18, 27), size),
    ]
    mean = sum(part.softmax(0) for part in parts) / 3
    torch.testing.assert_close(ensemble.logits(size).exp(), mean)
    assert ensemble.labels(size).dtype == torch.uint8
    assert torch.equal(ensemble.labels(size).long(), mean.argmax(0))
    assert ensemble.to_memory() is ensemble


def test_ensemble_logits_are_finite() -> None:
    whole = LogitMap.from_logits(torch.tensor([300.0, 0.0])[:, None, None], 1, (1, 1))
    logits = LogitEnsemble([whole, whole]).logits((1, 1))
    assert logits.isfinite().all() and logits[0] == 0 and logits[1] < -80


def test_ensemble_predicts_windows_once() -> None:
    in_windows, windows = map_in_windows(random_logits(4, 10, 14), (20, 28))
    ensemble = LogitEnsemble([in_windows, in_windows])
    for read in (ensemble.labels, ensemble.logits):
        read((20, 28))
    assert windows.count == 2 * 4 * 6


def test_cell_of_an_ensemble_is_that_of_its_finest_view() -> None:
    # Cells of 4 pixels of inputs as large as the output, and twice as high and wide.
    views = [LogitMap.from_logits(torch.zeros(1, side, side), 4, (4 * side, 4 * side)) for side in (2, 4)]
    for members in (views, views[::-1]):
        assert LogitEnsemble(members).find_cell((8, 8)) == 2


def test_a_long_narrow_map_has_a_sample() -> None:
    # Every second cell of four, from the second one on, of the only row.
    sample = LogitMap.from_logits(torch.arange(4.0).view(1, 1, 4), 1, (1, 4)).sample((1, 4), limit=2)
    assert sample is not None and sample.logits.tolist() == [[[1.0, 3.0]]]
    assert (sample.rows.tolist(), sample.columns.tolist()) == ([0], [1, 3])


def test_a_mirrored_map_has_no_sample() -> None:
    logits = torch.zeros(2, 3, 4)
    assert LogitMap.from_logits(logits, 1, (3, 4), mirrored=True).sample((3, 4), 99) is None
    assert LogitMap.from_logits(logits, 1, (3, 4)).sample((3, 4), 99) is not None


def test_more_than_256_classes_give_int16() -> None:
    logits = torch.zeros(300, 2, 2)
    logits[299] = 1
    whole = LogitMap.from_logits(logits, 4, (8, 8))
    for source in (whole, LogitEnsemble([whole, whole])):
        labels = source.labels((8, 8))
        assert labels.dtype == torch.int16 and (labels == 299).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), OUTPUT, st.integers(0, 99))
def test_levels_are_those_of_interpolated_probabilities(h: int, w: int, size: tuple[int, int], seed: int) -> None:
    logits, groups = random_logits(5, h, w, seed=seed), torch.tensor([0, 1, 1, 0, 2])
    logits[:, : h // 2] *= 9  # sure
    map = LogitMap.from_logits(logits, 4, (4 * h, 4 * w))
    labels = map.labels(size)
    probabilities = logits.softmax(0)
    # Stuff 0 and 3, a category of 1 and 2, one of 4.
    sums = torch.stack([probabilities[[0, 3]].sum(0), probabilities[1:3].sum(0), probabilities[4]])
    for levels, planes, choice in zip(
        map.levels(labels, groups), (probabilities, sums), (labels, groups[labels.long()])
    ):
        expected = resize(planes, 4, (4 * h, 4 * w), size).gather(0, choice[None].long())[0]
        assert levels.dtype == torch.uint8
        assert (levels - (expected * 256).clamp(max=255)).abs().max() <= 1.01
    with PretendDevice():
        there = LogitMap.from_logits(logits.to(DEVICE), 4, (4 * h, 4 * w)).levels(labels.to(DEVICE), groups)
        assert all(torch.equal(a.cpu(), b) for a, b in zip(there, map.levels(labels, groups)))


def test_levels_of_windows_and_of_views() -> None:
    logits, groups = random_logits(3, 10, 14), torch.tensor([0, 1, 1])
    windows, _ = map_in_windows(logits, (19, 28))
    whole = windows.to_memory()
    labels = whole.labels((40, 50))
    for a, b in zip(windows.levels(labels, groups), whole.levels(labels, groups)):
        assert (a.int() - b.int()).abs().max() <= 1
    # Those of an ensemble are of interpolated logits, not of interpolated probabilities.
    same = LogitEnsemble([whole, whole])
    probabilities = whole.logits((40, 50)).softmax(0)
    sums = torch.stack([probabilities[0], probabilities[1:].sum(0)])
    for levels, planes, choice in zip(
        same.levels(labels, groups), (probabilities, sums), (labels, groups[labels.long()])
    ):
        expected = planes.gather(0, choice[None].long())[0]
        assert (levels - (expected * 256).clamp(max=255)).abs().max() <= 1.01
    assert whole.find_cell((38, 56)) == pytest.approx(2 * 2) and same.find_cell((38, 56)) == pytest.approx(4)
