"""Drawing of the ground truth of a record, and of a prediction beside it.

(H, W) = the image, (h, w) = the drawing.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from unified_seg.data.io.image_files import read_picture
from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.canvas import VOID, PaintedSegment, to_canvas
from unified_seg.visualization.ground_truth_outputs import read_ground_truth
from unified_seg.visualization.overview import LegendMode, add_legend, choose_columns, draw_input, draw_panels
from unified_seg.visualization.panels import Panel, make_panels
from unified_seg.visualization.sheet import Picture, make_grid, stack_pictures

WRONG = (225, 40, 40)


def draw_ground_truth(record: Mapping[str, Any], metadata: Any, legend: LegendMode = "present") -> np.ndarray:
    """Draw the labels of a record as `draw_panels` draws a prediction; missing labels are left out.

    Args:
        record: of a data set in Detectron2's form, see `read_ground_truth`.
        metadata: of the data set.
        legend: see `draw_panels`.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        DataError: a file is missing, unreadable, has another size than the image, or an id that is not in the
            metadata; the message names the record.
    """
    image = read_picture(record["file_name"])
    ground_truth = read_ground_truth(record, ClassTable.from_metadata(metadata))
    try:
        return draw_panels(image, ground_truth, metadata, legend=legend)
    except ValueError as error:
        raise DataError(f"{record['file_name']}: its labels cannot be drawn: {error}") from None


def draw_comparison(
    record: Mapping[str, Any], outputs: Mapping[str, Any], metadata: Any, confidence_threshold: float = 0.5
) -> np.ndarray:
    """Draw two rows: the image and its ground truth; the pixels with a wrong class and the prediction.

    Args:
        record: of the data set.
        outputs: of the model for this record, in either form of MODEL.UNIFIED.OUTPUT.
        metadata, confidence_threshold: see `draw_panels`.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        DataError: see `draw_ground_truth`.
        ValueError: see `draw_panels`.
    """
    table = ClassTable.from_metadata(metadata)
    image = read_picture(record["file_name"])
    ground_truth = make_panels(read_ground_truth(record, table), table)
    predicted = make_panels(outputs, table, confidence_threshold)
    kinds = [kind for kind in predicted if kind in ground_truth]
    expected = [ground_truth[kind].prefix("ground truth") for kind in kinds]
    predictions = [predicted[kind].prefix("prediction") for kind in kinds]
    if "semantic" in kinds:
        errors = make_error_panel(ground_truth["semantic"].ids, predicted["semantic"].ids).draw(image)
    else:
        errors = Picture(to_canvas(image), "input")
    pictures = [draw_input(image), *(panel.draw(image) for panel in expected)]
    pictures += [errors, *(panel.draw(image) for panel in predictions)]
    return add_legend(make_grid(pictures, 1 + len(kinds)), [*expected, *predictions], table, "present")


def draw_with_ground_truth(
    image: np.ndarray,
    outputs: Mapping[str, Any],
    metadata: Any,
    ground_truth: Mapping[str, Any],
    confidence_threshold: float = 0.5,
) -> np.ndarray:
    """Draw what `draw_panels` draws and, below it, the ground truth of each prediction and the wrong pixels.

    Args:
        image, outputs, metadata, confidence_threshold: see `draw_panels`.
        ground_truth: see `read_ground_truth`.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        ValueError: see `draw_panels`.
    """
    table = ClassTable.from_metadata(metadata)
    labels = np.asarray(ground_truth["sem_seg_labels"]) if "sem_seg_labels" in ground_truth else None
    sheet = draw_panels(image, outputs, metadata, confidence_threshold, legend="none", ground_truth=labels)
    predicted = make_panels(outputs, table, confidence_threshold)
    expected = {kind: panel for kind, panel in make_panels(ground_truth, table).items() if kind in predicted}
    pictures = [panel.prefix("ground truth").draw(image) for panel in expected.values()]
    if "semantic" in expected:
        pictures.append(make_error_panel(expected["semantic"].ids, predicted["semantic"].ids).draw(image))
    if pictures:
        row = make_grid(pictures, choose_columns(len(pictures), is_wide=image.shape[1] > image.shape[0]))
        sheet = stack_pictures([sheet, row])
    return add_legend(sheet, [*predicted.values(), *expected.values()], table, "present")


def make_error_panel(ground_truth: np.ndarray, predicted: np.ndarray) -> Panel:
    """Create a panel of the pixels with a wrong class, from the ids (H, W) of two semantic panels."""
    labeled = ground_truth != VOID
    wrong = (ground_truth != predicted) & labeled
    share = 100 * int(wrong.sum()) / int(labeled.sum()) if labeled.any() else 0.0
    caption = f"wrong class: {share:.1f}% of the labeled pixels"
    error = PaintedSegment(1, WRONG, "", is_thing=False)
    return Panel(caption, wrong.astype(np.int32), [error], opacity=0.9, hatch_void=False)
