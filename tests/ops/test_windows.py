from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unified_seg.ops.windows import SlidingWindows, stitch_windows


def test_starts_by_hand() -> None:
    # A window of 4 pixels that overlaps by half advances by 2: 10 - 4 = 6 pixels are three advances.
    assert SlidingWindows(4, 0.5, 1).starts(10) == [0, 2, 4, 6]
    # In steps of 2: a window is 3 of them and advances by 2. 16 - 6 = 10 pixels are 5 steps, three advances of 5/3.
    assert SlidingWindows(6, 1 / 3, 2).starts(16) == [0, 2, 6, 10]
    # Without overlap 12 pixels take two windows of 6, and 14 take three, which then do overlap.
    assert SlidingWindows(6, 0.0, 2).starts(12) == [0, 6]
    assert SlidingWindows(6, 0.0, 2).starts(14) == [0, 4, 8]


def test_starts_of_overlaps_inexact_in_floating_point() -> None:
    # 10 * (1 - 0.9) and 10 * (1 - 0.8) are slightly less than 1 and 2.
    assert SlidingWindows(10, 0.9, 1).starts(12) == [0, 1, 2]
    assert SlidingWindows(10, 0.8, 1).starts(14) == [0, 2, 4]
    assert SlidingWindows(720, 1 / 3, 8).starts(1200) == [0, 480]


def test_short_side_has_one_window() -> None:
    windows = SlidingWindows(64, 0.5, 32)
    assert windows.starts(64) == windows.starts(32) == [0]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.floats(0, 0.95), st.integers(1, 32), st.integers(1, 300))
def test_windows_cover_a_side_evenly_and_overlap(steps: int, overlap: float, step: int, length: int) -> None:
    try:
        windows = SlidingWindows(steps * step, overlap, step)
    except ValueError as error:
        assert "cannot advance" in str(error) and steps * (1 - overlap) < 1
        return
    starts = windows.starts(length * step)
    assert starts[0] == 0 and all(start % step == 0 for start in starts)
    if length <= steps:
        assert starts == [0]
        return
    assert starts[-1] + windows.size == length * step
    advances = [after - before for before, after in pairwise(starts)]
    assert all(0 < advance <= windows.size * (1 - overlap) + 1e-6 for advance in advances)
    # As few as possible: with one fewer, they would have to advance too far.
    assert len(starts) == 2 or (len(starts) - 2) * (windows.size * (1 - overlap) // step) * step < starts[-1]
    # Evenly: no two advances differ by more than a step.
    assert max(advances) - min(advances) <= step


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((16, 0.3, 32), "16 pixels is smaller .* 32"),
        ((-32, 0.3, 32), "-32 pixels is smaller"),
        ((473, 0.3, 8), "473 .* stride of 8; use .*472.* or .*480"),
        ((64, 1.0, 32), r"in \[0, 1\), got 1"),
        ((64, -0.1, 32), r"in \[0, 1\), got -0.1"),
        ((64, float("nan"), 32), r"in \[0, 1\), got nan"),
        ((64, 0.6, 32), "64 pixels .* 0.6 cannot advance .* 32"),
    ],
)
def test_invalid_windows_are_errors(arguments: tuple[int, float, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SlidingWindows(*arguments)


def stitch(predict, windows: SlidingWindows, size: tuple[int, int], stride: int) -> Tensor:
    """Return the whole map, after checking that successive rows share one."""
    parts = []
    for first, rows in stitch_windows(predict, windows, size, stride):
        rows = rows.clone()
        if parts:
            # The last row of the band before.
            assert first == sum(part.shape[1] for part in parts) - 1
            assert torch.equal(rows[:, 0], parts[-1][:, -1])
            rows = rows[:, 1:]
        else:
            assert first == 0
        parts.append(rows)
    return torch.cat(parts, dim=1)


SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=60, deadline=None)
@given(
    SIZES, st.integers(1, 5), st.floats(0, 0.8), st.sampled_from([(1, 1), (2, 1), (2, 2), (8, 4)]), st.integers(0, 99)
)
def test_windows_of_one_map_stitch_to_it(
    cells: tuple[int, int], steps: int, overlap: float, step_and_stride: tuple[int, int], seed: int
) -> None:
    step, stride = step_and_stride
    size = (cells[0] * step, cells[1] * step)
    whole = torch.randn(3, size[0] // stride, size[1] // stride, generator=torch.Generator().manual_seed(seed)) * 20
    if int(steps * (1 - overlap)) == 0:
        overlap = 0.0

    def predict(rows: slice, columns: slice) -> Tensor:
        return whole[:, rows.start // stride : rows.stop // stride, columns.start // stride : columns.stop // stride]

    stitched = stitch(predict, SlidingWindows(steps * step, overlap, step), size, stride)
    torch.testing.assert_close(stitched.log_softmax(0), whole.log_softmax(0), rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(1, 5), st.floats(0, 0.8), st.integers(0, 99))
def test_overlapping_windows_average_probabilities(
    cells: tuple[int, int], steps: int, overlap: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    if int(steps * (1 - overlap)) == 0:
        overlap = 0.0
    size, stride = (cells[0] * 4, cells[1] * 4), 2
    total, count = torch.zeros(3, size[0] // 2, size[1] // 2), torch.zeros(size[0] // 2, size[1] // 2)
    seen = []

    def predict(rows: slice, columns: slice) -> Tensor:
        seen.append((rows.start, columns.start))
        logits = torch.randn(
            3, (rows.stop - rows.start) // stride, (columns.stop - columns.start) // stride, generator=generator
        )
        here = slice(rows.start // stride, rows.stop // stride), slice(columns.start // stride, columns.stop // stride)
        total[:, *here] += logits.softmax(0)
        count[here] += 1
        return logits

    windows = SlidingWindows(4 * steps, overlap, 4)
    stitched = stitch(predict, windows, size, stride)
    assert seen == [(top, left) for top in windows.starts(size[0]) for left in windows.starts(size[1])]
    torch.testing.assert_close(stitched.softmax(0), total / count)


def test_sure_windows_stay_finite() -> None:
    # Probabilities of e^-200 are zero in float32, and their logarithm would be minus infinity.
    logits = torch.tensor([200.0, 0.0])[:, None, None].expand(2, 2, 2)
    stitched = stitch(lambda rows, columns: logits, SlidingWindows(2, 0.5, 1), (3, 3), 1)
    assert stitched.isfinite().all()
    torch.testing.assert_close(stitched[0] - stitched[1], torch.full((3, 3), 200.0))


def test_half_precision_is_joined_in_float32() -> None:
    logits = torch.randn(2, 2, 2).bfloat16()
    assert stitch(lambda rows, columns: logits, SlidingWindows(2, 0.5, 1), (4, 4), 1).dtype == torch.float32
