"""Pictures of errors: the street is 64 x 128 pixels, shown four times enlarged under captions of 22."""

from typing import Any

import numpy as np
import pytest
import torch

from unified_seg.heads.error_correction.panels import draw_errors, draw_probability, draw_true_errors
from unified_seg.structures.logit_map import LogitMap
from unified_seg.visualization.overview import arrange_panels, draw_panels
from unified_seg.visualization.panels import Scene, make_panels

SKY, ROAD, CAR, PERSON = range(4)
IGNORE = 255
CAPTION, GAP, SCALE = 22, 4, 4
BLACK, RED, WHITE = (0, 0, 0), (255, 0, 0), (255, 255, 255)


def at(picture: np.ndarray, row: int, column: int) -> tuple[int, ...]:
    """Return the color in the middle of a pixel of the image."""
    return tuple(picture[row * SCALE + SCALE // 2, column * SCALE + SCALE // 2].tolist())


def logits_of(labels: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(labels), 4).permute(2, 0, 1).float()


@pytest.fixture
def ground_truth(street: Any) -> np.ndarray:
    return street[0]


@pytest.fixture
def maps(ground_truth: np.ndarray) -> dict[str, LogitMap]:
    """Before the correction both cars and the void corner are road; the error branch finds the first car only."""
    uncorrected = np.where((ground_truth == CAR) | (ground_truth == IGNORE), ROAD, ground_truth)
    error = torch.full((1, 64, 128), -20.0)
    error[:, 24:48, 20:44] = 20
    maps = {"uncorrected": logits_of(uncorrected), "error": error}
    return {name: LogitMap.from_logits(logits, 1, (64, 128)) for name, logits in maps.items()}


def test_probability_goes_from_black_to_red() -> None:
    picture = draw_probability(np.array([[0.0, 0.5, 1.0]], np.float32).repeat(64, 0).repeat(64, 1))
    assert picture.shape == (64 * 3, 192 * 3, 3)
    assert [tuple(picture[50, column].tolist()) for column in (10, 250, 570)] == [BLACK, (128, 0, 0), RED]


def test_true_errors_are_red_and_unlabeled_pixels_white() -> None:
    wrong = np.zeros((64, 128), bool)
    labeled = np.ones((64, 128), bool)
    wrong[3, 5], labeled[7, 9] = True, False
    picture = draw_true_errors(wrong, labeled)
    assert (at(picture, 3, 5), at(picture, 7, 9)) == (RED, WHITE)
    # Every pixel is drawn as one square.
    assert (picture == RED).all(axis=2).sum() == (picture == WHITE).all(axis=2).sum() == SCALE**2
    assert not picture[(picture != RED).any(axis=2) & (picture != WHITE).any(axis=2)].any()


def test_predicted_and_true_errors_are_drawn(maps: dict[str, LogitMap], ground_truth: np.ndarray) -> None:
    predicted, true = (picture.pixels for picture in draw_errors((64, 128), maps, IGNORE, ground_truth))
    assert predicted.shape == true.shape == (64 * SCALE, 128 * SCALE, 3)
    # Sky, first car, second car, void.
    places = [(10, 10), (30, 30), (30, 60), (60, 110)]
    assert [at(predicted, *place) for place in places] == [BLACK, RED, BLACK, BLACK]
    assert [at(true, *place) for place in places] == [BLACK, RED, RED, WHITE]
    assert len(draw_errors((64, 128), maps, IGNORE)) == 1


def test_captions_have_the_shares_of_both_maps(maps: dict[str, LogitMap], ground_truth: np.ndarray) -> None:
    predicted, true = draw_errors((64, 128), maps, IGNORE, ground_truth)
    # Two cars of 24 x 24 pixels in 64 x 128, of which 8 x 32 are void: 576 / 8192 and 1152 / 7936.
    assert "7.0 %" in predicted.caption and "14.5 %" in true.caption
    _, true = draw_errors((64, 128), maps, IGNORE, np.full((64, 128), IGNORE))
    assert "unknown" in true.caption


def test_ground_truth_of_another_size_is_refused(maps: dict[str, LogitMap], image, compact, metadata) -> None:
    for draw in (
        lambda ground_truth: draw_errors((64, 128), maps, IGNORE, ground_truth),
        lambda ground_truth: draw_panels(
            image, compact | {"semantic_logit_maps": maps}, metadata, ground_truth=ground_truth
        ),
    ):
        with pytest.raises(ValueError, match=r"ground_truth must have .* \(64, 128\), got \(32, 128\)"):
            draw(np.zeros((32, 128), int))


def panel(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    """Return a panel of a sheet, without its caption."""
    top, left = row * (CAPTION + 64 * SCALE + GAP), column * (128 * SCALE + GAP)
    return picture[top + CAPTION : top + CAPTION + 64 * SCALE, left : left + 128 * SCALE]


def test_maps_before_and_after_are_adjacent(image, compact, maps, ground_truth, table, metadata) -> None:
    outputs = compact | {"semantic_logit_maps": maps}
    uncorrected = {"sem_seg_labels": maps["uncorrected"].labels((64, 128))}
    before, after = (make_panels(each, table)["semantic"].draw(image).pixels for each in (uncorrected, compact))
    assert not np.array_equal(before, after)
    errors = [picture.pixels for picture in draw_errors((64, 128), maps, IGNORE, ground_truth)]
    # With all three kinds of outputs: input, before, after; instances, panoptic, predicted; true.
    picture = draw_panels(image, outputs, metadata, legend="none", ground_truth=ground_truth)
    assert picture.shape[1] == 3 * 512 + 2 * GAP and picture.shape[0] == 3 * (CAPTION + 64 * SCALE) + 2 * GAP
    expected = {(0, 1): before, (0, 2): after, (1, 2): errors[0], (2, 0): errors[1]}
    for (row, column), drawn in expected.items():
        assert np.array_equal(panel(picture, row, column), drawn)
    # A semantic model without ground truth: two by two.
    del outputs["instances"], outputs["panoptic_seg"]
    picture = draw_panels(image, outputs, metadata, legend="none")
    assert picture.shape[1] == 2 * 512 + GAP and picture.shape[0] == 2 * (CAPTION + 64 * SCALE) + GAP
    for (row, column), drawn in {(0, 1): before, (1, 0): after, (1, 1): errors[0]}.items():
        assert np.array_equal(panel(picture, row, column), drawn)


def test_panels_are_in_the_order_of_the_heads(image, compact, maps, table, metadata) -> None:
    maps = {"ungrouped": LogitMap.from_logits(logits_of(np.full((64, 128), PERSON)), 1, (64, 128)), **maps}
    outputs = {"sem_seg_labels": compact["sem_seg_labels"]}
    drawn = [
        make_panels({"sem_seg_labels": maps[name].labels((64, 128))}, table) for name in ("ungrouped", "uncorrected")
    ]
    first, second, last = (each["semantic"].draw(image).pixels for each in (*drawn, make_panels(outputs, table)))
    # Input, before the subnets, before the correction; after it, predicted errors.
    picture = draw_panels(image, outputs | {"semantic_logit_maps": maps}, metadata, legend="none")
    for (row, column), expected in {(0, 1): first, (0, 2): second, (1, 0): last}.items():
        assert np.array_equal(panel(picture, row, column), expected)
    # With the subnets around the correction: before the correction, before the subnets.
    reversed_maps = {name: maps[name] for name in ("uncorrected", "error", "ungrouped")}
    panels = arrange_panels(Scene(image, outputs | {"semantic_logit_maps": reversed_maps}, table))
    assert [each.caption.split(" · ")[0] for each in panels] == ["before correction", "before subnets", "after subnets"]
    # Subnets alone: input, before, after.
    outputs["semantic_logit_maps"] = {"ungrouped": maps["ungrouped"]}
    picture = draw_panels(image, outputs, metadata, legend="none")
    assert np.array_equal(panel(picture, 0, 1), first) and np.array_equal(panel(picture, 0, 2), last)


def test_errors_are_drawn_after_the_panels_of_a_fusion(image, fused, maps, ground_truth, metadata) -> None:
    plain = draw_panels(image, fused, metadata, legend="none")
    picture = draw_panels(
        image, fused | {"semantic_logit_maps": maps}, metadata, legend="none", ground_truth=ground_truth
    )
    assert np.array_equal(picture[: len(plain)], plain)
    assert picture.shape == (3 * (CAPTION + 64 * SCALE) + 2 * GAP, plain.shape[1], 3)
    for column, drawn in enumerate(draw_errors((64, 128), maps, IGNORE, ground_truth), start=1):
        assert np.array_equal(panel(picture, 2, column), drawn.pixels)


def test_legend_has_the_classes_of_earlier_predictions(image, compact, maps, table, metadata) -> None:
    person = torch.full((64, 128), PERSON).numpy()
    maps["uncorrected"] = LogitMap.from_logits(logits_of(person), 1, (64, 128))
    legends = []
    for given in ({}, {"semantic_logit_maps": maps}):
        outputs = {"sem_seg_labels": compact["sem_seg_labels"], **given}
        sheet, bare = (draw_panels(image, outputs, metadata, legend=legend) for legend in ("present", "none"))
        legends.append(sheet[len(bare) :])
    swatches = [(legend == table.semantic_colors[PERSON]).all(axis=2).sum() for legend in legends]
    assert swatches[0] == 0 and swatches[1] > 50


def test_error_map_without_its_labels_is_not_drawn(image, compact, maps, ground_truth, metadata) -> None:
    del maps["uncorrected"]
    outputs = compact | {"semantic_logit_maps": maps}
    drawn = draw_panels(image, outputs, metadata, ground_truth=ground_truth)
    assert np.array_equal(drawn, draw_panels(image, compact, metadata))


def test_pictures_of_a_video_have_one_size(image, compact, maps, metadata) -> None:
    outputs = compact | {"semantic_logit_maps": maps}
    first = draw_panels(image, outputs, metadata, legend="all")
    maps["uncorrected"] = LogitMap.from_logits(torch.zeros(4, 64, 128), 1, (64, 128))
    maps["error"] = LogitMap.from_logits(torch.zeros(1, 64, 128), 1, (64, 128))
    assert draw_panels(image, outputs, metadata, legend="all").shape == first.shape


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 2), (33, 65)])
def test_any_size_is_drawn(size: tuple[int, int]) -> None:
    """The network's input has yet another size."""
    maps = {
        "uncorrected": LogitMap.from_logits(torch.rand(4, 2, 3), 4, (7, 9)),
        "error": LogitMap.from_logits(torch.rand(1, 2, 3), 4, (7, 9)),
    }
    pictures = draw_errors(size, maps, IGNORE, np.zeros(size, np.uint8))
    assert pictures[0].pixels.shape == pictures[1].pixels.shape and max(pictures[0].pixels.shape) < 3000
