from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from unified_seg.heads.confusion_groups.matrix_figure import draw_confusions, make_figure, order_by_group

NAMES = ("sky", "road $", "car")


def cells(axes: Axes) -> dict[tuple[int, int], str]:
    """Return the numbers of a matrix by (row, column)."""
    return {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts}


def blocks(axes: Axes) -> list[tuple[tuple[float, ...], float, float]]:
    """Return (left upper corner, width, height), in cells, of the outlines."""
    found = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_hatch() is None]
    return [(tuple(c + 0.5 for c in p.get_xy()), p.get_width(), p.get_height()) for p in found]


def names_of(axes: Axes) -> tuple[list[str], list[str]]:
    rows, columns = ([text.get_text() for text in get()] for get in (axes.get_yticklabels, axes.get_xticklabels))
    return rows, columns


def test_cells_are_percent_of_the_ground_truth_class() -> None:
    # Row sums 25, 50 and 1000: 0.4 % is rounded to 0, 99.6 % to 100.
    matrix = np.array([[24, 1, 0], [10, 40, 0], [4, 0, 996]])
    axes = make_figure([(matrix, "title $")], NAMES, []).axes[0]
    shares = [[96, 4, 0], [20, 80, 0], [0.4, 0, 99.6]]
    assert np.asarray(axes.images[0].get_array()) == pytest.approx(np.array(shares))
    assert cells(axes) == {(0, 0): "96", (0, 1): "4", (1, 0): "20", (1, 1): "80", (2, 2): "100"}
    assert names_of(axes) == (list(NAMES), list(NAMES))
    assert (axes.get_ylabel(), axes.get_xlabel(), axes.get_title()) == ("ground truth", "prediction", "title $")


def test_numbers_contrast_with_their_cell() -> None:
    """Contrast as WCAG 2.1 has it, of 21 to 79 %: between them letters turn from black to white."""
    diagonal = np.arange(40, 80)
    matrix = np.diag(diagonal) + np.roll(np.diag(100 - diagonal), 1, axis=1)
    axes = make_figure([(matrix, "")], ["name"] * 40, []).axes[0]
    grounds = axes.images[0].to_rgba(axes.images[0].get_array())
    assert {text.get_color() for text in axes.texts} == {"white", "black"}
    for (row, column), text in zip(cells(axes), axes.texts):
        dark, light = sorted(
            luminance(np.array(color)) for color in (grounds[row, column, :3], to_rgb(text.get_color()))
        )
        assert (light + 0.05) / (dark + 0.05) > 4.4


def luminance(rgb: np.ndarray) -> float:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize(("size", "numbers"), [(40, 40), (41, 0)])
def test_cells_of_many_classes_have_no_numbers(size: int, numbers: int) -> None:
    assert len(make_figure([(np.eye(size), "")], ["name"] * size, []).axes[0].texts) == numbers


def test_groups_are_adjacent_and_outlined() -> None:
    matrix = np.eye(5) * 90
    matrix[0, 3], matrix[1, 2], matrix[4, 3] = 10, 10, 30
    axes = make_figure([(matrix, "")], list("abcde"), [(0, 3), (1, 2)]).axes[0]
    assert names_of(axes) == (list("adbce"), list("adbce"))
    # Row 4 is 90 + 30.
    assert cells(axes) == {
        **{(i, i): "90" for i in (0, 2)},
        **{(i, i): "100" for i in (1, 3)},
        **{(0, 1): "10", (2, 3): "10", (4, 4): "75", (4, 1): "25"},
    }
    assert blocks(axes) == [((0, 0), 2, 2), ((2, 2), 2, 2)]
    colors = [patch.get_edgecolor() for patch in axes.patches]
    assert colors[0] != colors[1]


def test_group_that_shares_a_class_is_outlined_in_pieces() -> None:
    # Order 0 1 3 2: the second group is at the places 0 and 2, 3.
    axes = make_figure([(np.eye(4), "")], list("abcd"), [(0, 1), (0, 3, 2)]).axes[0]
    assert blocks(axes)[0] == ((0, 0), 2, 2)
    assert sorted(blocks(axes)[1:]) == [((0, 0), 1, 1), ((0, 2), 1, 2), ((2, 0), 2, 1), ((2, 2), 2, 2)]


@pytest.mark.parametrize("row", [0, np.nan])
def test_absent_classes_are_hatched(row: float) -> None:
    matrix = np.array([[8, 2, 0], [row, row, row], [0, 1, 9]])
    axes = make_figure([(matrix, "")], NAMES, [(1, 2)]).axes[0]
    assert cells(axes) == {(2, 2): "80", (2, 0): "20", (1, 1): "90", (1, 0): "10"}
    (hatched,) = (patch for patch in axes.patches if patch.get_hatch())
    assert (hatched.get_xy(), hatched.get_width(), hatched.get_height()) == ((-0.5, -0.5), 3, 1)
    assert axes.get_xlabel() == "prediction; hatched: not in the ground truth"


def test_matrices_side_by_side_share_order_and_scale() -> None:
    before, after = np.array([[90, 10, 0], [0, 1, 0], [5, 0, 5]]), np.diag([3, 0, 5])
    figure = make_figure([(before, "before"), (after, "after")], NAMES, [(0, 2)])
    first, second, bar = figure.axes
    assert cells(second) == {(0, 0): "100", (1, 1): "100"}  # road, the last one, is absent
    assert names_of(first)[1] == names_of(second)[1] == ["sky", "car", "road $"]
    assert names_of(second)[0] == ["", "", ""] or names_of(second)[0] == []
    assert blocks(first) == blocks(second) == [((0, 0), 2, 2)]
    assert [axes.images[0].get_clim() for axes in (first, second)] == [(0, 100)] * 2
    assert (first.get_title(), second.get_title()) == ("before", "after")
    assert first.get_position().x1 < second.get_position().x0 and second.get_position().x1 < bar.get_position().x0
    assert bar.get_ylim() == (0, 100)


@pytest.mark.parametrize("size", [2, 19, 41, 171])
def test_texts_do_not_overlap(size: int) -> None:
    figure = make_figure([(np.eye(size), "output/a_long_path" * 8)] * 2, ["class $x_{y"] * size, [])
    renderer, (first, second, _) = FigureCanvasAgg(figure).get_renderer(), figure.axes
    for labels in (first.get_yticklabels(), first.get_xticklabels()):
        boxes = [label.get_window_extent(renderer) for label in labels]
        assert len(boxes) == size
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    for axes in (first, second):
        assert axes.title.get_window_extent(renderer).width <= axes.get_window_extent(renderer).width


def test_figure_of_very_many_classes_has_a_bounded_size() -> None:
    # With cells of 12 pixels it would be 20,000 pixels wide; cells of 4 pixels are lower than a name.
    figure = make_figure([(np.eye(847), "before"), (np.eye(847), "after")], ["name"] * 847, [(0, 1)])
    width, height = figure.get_size_inches() * figure.dpi
    assert 6500 < width < 8200 and 3300 < height < 4200
    assert names_of(make_figure([(np.eye(1203), "")], ["name"] * 1203, []).axes[0]) == ([], [])


def test_picture_contains_all_text() -> None:
    names = ["a", "a very long name of a class, longer than the matrix is high, and then some more of it"]
    picture = draw_confusions([(np.diag([3, 5]), "title")], names, [])
    short = draw_confusions([(np.diag([3, 5]), "title")], ["a", "b"], [])
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert min(np.subtract(picture.shape, short.shape)[:2]) > 300
    rim = [picture[:5], picture[-5:], picture[:, :5], picture[:, -5:]]
    assert all((part == 255).all() for part in rim)
    # Red, green, blue: the diagonal is dark blue.
    dark = picture[(picture.sum(axis=2) < 300) & (np.ptp(picture, axis=2) > 60)]
    assert len(dark) > 10_000 and (dark[:, 2] > dark[:, 0]).all()


def test_matrix_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"after: .* of 3 classes .* got \(2, 2\)"):
        make_figure([(np.eye(3), "before"), (np.eye(2), "after")], NAMES, [])


def test_order_goes_group_by_group() -> None:
    assert order_by_group([], 3) == [0, 1, 2]
    assert order_by_group([(2, 4), (0, 3)], 6) == [2, 4, 0, 3, 1, 5]
    # Class 4 is in both groups.
    assert order_by_group([(2, 4), (1, 4)], 5) == [2, 4, 1, 0, 3]
