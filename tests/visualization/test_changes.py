"""What changes between two semantic maps: counts by hand, colors by pixel."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.structures.class_table import ClassTable, SegmentClass
from unified_seg.visualization.canvas import draw_segments
from unified_seg.visualization.changes import BETTER, WORSE, LabelMaps, draw_change, measure_change
from unified_seg.visualization.panels import SEMANTIC_OPACITY
from unified_seg.visualization.sheet import add_caption

SKY, ROAD, CAR, PERSON, IGNORE = 0, 1, 2, 3, 255
SCALE, CAPTION = 4, 22
NAMES = ("FCN", "PSPNet")


def test_shares_by_hand(table):
    # Eight pixels, two without ground truth. Right before: 2 of 6. After: the third too, but the first no longer.
    ground_truth = np.array([[CAR, CAR, CAR, ROAD], [ROAD, ROAD, IGNORE, IGNORE]])
    before = np.array([[CAR, CAR, PERSON, SKY], [SKY, SKY, CAR, CAR]])
    after = np.array([[PERSON, CAR, CAR, ROAD], [SKY, SKY, SKY, CAR]])
    change = measure_change(LabelMaps(ground_truth, before, after), table)
    assert change == pytest.approx((100 * 2 / 6, 100 * 3 / 6))
    assert change.gain == pytest.approx(100 / 6)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.sampled_from([0, 1, IGNORE])] * 3), min_size=1, max_size=12))
def test_shares_are_those_of_a_plain_count(pixels):
    table = ClassTable([SegmentClass(str(i), i, None, i, str(i), (0, 0, 0)) for i in range(2)])
    change = measure_change(LabelMaps(*(np.array(column)[None] for column in zip(*pixels))), table)
    labeled = [p for p in pixels if p[0] != IGNORE]
    if not labeled:
        assert math.isnan(change.before) and math.isnan(change.gain)
        return
    assert change.before == pytest.approx(100 * sum(t == b for t, b, _ in labeled) / len(labeled))
    assert change.after == pytest.approx(100 * sum(t == a for t, _, a in labeled) / len(labeled))


def test_changed_pixels_are_green_and_red_and_no_others(table):
    # Blocks of 16 x 32 pixels: one becomes right, one wrong, one stays wrong, and one has no ground truth.
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
        assert mask[inside].mean() > 0.6  # the rest of the block is under its name


def test_what_changed_says_what_it_became(table, monkeypatch):
    ground_truth, before, after = np.array([[CAR, CAR]]), np.array([[CAR, PERSON]]), np.array([[IGNORE, CAR]])
    drawn = []

    def spy(image, ids, segments, **options):
        drawn.append(
            {tuple(np.argwhere(ids == s.id)[0].tolist()): (s.label, s.color) for s in segments if (ids == s.id).any()}
        )
        return draw_segments(image, ids, segments, **options)

    monkeypatch.setattr("unified_seg.visualization.changes.draw_segments", spy)
    draw_change(np.zeros((1, 2, 3), np.uint8), LabelMaps(ground_truth, before, after), table, NAMES)
    assert drawn == [{(0, 0): ("void", WORSE), (0, 1): ("car", BETTER)}]


def test_captions_name_the_two_answers(table, monkeypatch):
    ground_truth, before, after = np.array([[CAR, CAR, CAR]]), np.array([[CAR, SKY, SKY]]), np.array([[SKY, CAR, CAR]])
    captions = []
    for module in ("changes", "panels"):
        monkeypatch.setattr(
            f"unified_seg.visualization.{module}.add_caption",
            lambda picture, text: captions.append(text) or add_caption(picture, text),
        )
    draw_change(np.zeros((1, 3, 3), np.uint8), LabelMaps(ground_truth, before, after), table, NAMES)
    assert captions[0] == "input 3×1" and captions[1].startswith("truth · ") and captions[2].startswith("FCN · ")
    assert captions[3:] == ["PSPNet: 2 pixels better (green), 1 worse (red)"]


def test_maps_of_different_sizes_are_refused(table):
    one, two = np.zeros((4, 4), int), np.zeros((4, 5), int)
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(4, 5\)"):
        measure_change(LabelMaps(one, one, two), table)
    with pytest.raises(ValueError, match="different sizes"):
        draw_change(np.zeros((4, 4, 3), np.uint8), LabelMaps(one, two, one), table, NAMES)
