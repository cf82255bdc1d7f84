"""Changes between two semantic maps: counts by hand, colors by pixel."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.structures.class_table import ClassTable, SegmentClass
from unified_seg.visualization.changes import BETTER, WORSE, LabelMaps, draw_change, make_change_panels, measure_change
from unified_seg.visualization.panels import SEMANTIC_OPACITY

SKY, ROAD, CAR, PERSON, IGNORE = 0, 1, 2, 3, 255
SCALE, CAPTION = 4, 22
NAMES = ("FCN", "PSPNet")


def test_percentages_by_hand(table):
    # Eight pixels, two without ground truth. Correct before: 2 of 6. After: the third too, but not the first.
    ground_truth = np.array([[CAR, CAR, CAR, ROAD], [ROAD, ROAD, IGNORE, IGNORE]])
    before = np.array([[CAR, CAR, PERSON, SKY], [SKY, SKY, CAR, CAR]])
    after = np.array([[PERSON, CAR, CAR, ROAD], [SKY, SKY, SKY, CAR]])
    change = measure_change(LabelMaps(ground_truth, before, after), table)
    assert change == pytest.approx((100 * 2 / 6, 100 * 3 / 6))
    assert change.gain == pytest.approx(100 / 6)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.sampled_from([0, 1, IGNORE])] * 3), min_size=1, max_size=12))
def test_percentages_equal_a_plain_count(pixels):
    table = ClassTable([SegmentClass(str(i), i, None, i, str(i), (0, 0, 0)) for i in range(2)])
    change = measure_change(LabelMaps(*(np.array(column)[None] for column in zip(*pixels))), table)
    labeled = [p for p in pixels if p[0] != IGNORE]
    if not labeled:
        assert math.isnan(change.before) and math.isnan(change.gain)
        return
    assert change.before == pytest.approx(100 * sum(t == b for t, b, _ in labeled) / len(labeled))
    assert change.after == pytest.approx(100 * sum(t == a for t, _, a in labeled) / len(labeled))


def test_only_changed_pixels_are_green_and_red(table):
    # Blocks of 16 x 32 pixels: one becomes correct, one wrong, one stays wrong, and one has no ground truth.
    ground_truth = np.full((64, 128), ROAD)
    before, after = ground_truth.copy(), ground_truth.copy()
    green, red, still, void = (
        (slice(0, 16), slice(0, 32)),
        (slice(16, 32), slice(32, 64)),
        (slice(32, 48),),
        (slice(48, 64),),
    )
    before[green] = CAR
    after[red] = PERSON
    before[still], after[still] = CAR, PERSON
    ground_truth[void], after[void] = IGNORE, SKY
    maps = LabelMaps(ground_truth, before, after)
    row, panels = draw_change(np.full((64, 128, 3), 100, np.uint8), maps, table, NAMES)
    assert row.shape == (CAPTION + 64 * SCALE, 4 * 512 + 3 * 4, 3) and len(panels) == 3
    last = row[CAPTION:, -512:].astype(int)
    for color, block in ((BETTER, green), (WORSE, red)):
        painted = [round(SEMANTIC_OPACITY * c + (1 - SEMANTIC_OPACITY) * 100) for c in color]
        mask = (last == painted).all(axis=2)
        inside = np.zeros((64, 128), bool)
        inside[block] = True
        inside = np.kron(inside, np.ones((SCALE, SCALE), bool))
        assert not mask[~inside].any()
        assert mask[inside].mean() > 0.6  # the rest of the block is under its label


def test_changed_pixels_are_labeled_with_their_new_class(table):
    maps = LabelMaps(np.array([[CAR, CAR]]), np.array([[CAR, PERSON]]), np.array([[IGNORE, CAR]]))
    *_, after = make_change_panels(maps, table, NAMES)
    segments = {segment.id: segment for segment in after.segments}
    painted = [segments[i] for i in after.ids[0].tolist()]
    assert [(segment.label, segment.color) for segment in painted] == [("void", WORSE), ("car", BETTER)]


def test_unchanged_pixels_are_faded(table):
    *_, after = make_change_panels(LabelMaps(*[np.array([[CAR]])] * 3), table, NAMES)
    # (0, 0, 142), of which 0.35 remain beside 0.65 of the gray 110.
    assert [segment.color for segment in after.segments] == [(72, 72, 121)]


def test_captions_contain_names_and_counts(table):
    maps = LabelMaps(np.array([[CAR, CAR, CAR]]), np.array([[CAR, SKY, SKY]]), np.array([[SKY, CAR, CAR]]))
    ground_truth, before, after = (panel.caption for panel in make_change_panels(maps, table, NAMES))
    assert ground_truth.startswith("ground truth · ") and before.startswith("FCN · ")
    assert after == "PSPNet: 2 pixels better (green), 1 worse (red)"


def test_maps_of_different_sizes_are_an_error(table):
    one, two = np.zeros((4, 4), int), np.zeros((4, 5), int)
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(4, 5\)"):
        measure_change(LabelMaps(one, one, two), table)
    with pytest.raises(ValueError, match="one size"):
        draw_change(np.zeros((4, 4, 3), np.uint8), LabelMaps(one, two, one), table, NAMES)
