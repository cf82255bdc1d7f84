"""An overview of a model's predictions for one image: all panels in a grid, above a legend.

(H, W) = the image, (h, w) = the overview.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from unified_seg.config.heads import earlier_predictions, registered_heads
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.canvas import to_canvas
from unified_seg.visualization.panels import KINDS, Panel, Scene, make_panels, make_semantic_panel
from unified_seg.visualization.sheet import Picture, draw_legend, make_grid, stack_pictures

LegendMode = Literal["present", "all", "none"]


def draw_panels(
    image: np.ndarray,
    outputs: Mapping[str, Any],
    metadata: Any,
    confidence_threshold: float = 0.5,
    legend: LegendMode = "present",
    ground_truth: np.ndarray | None = None,
) -> np.ndarray:
    """Draw an image beside all predictions of a model for it.

    If a fusion refines the predictions, the semantic map and the instances before and after it are beside each other,
    without detections that the fusion dropped, and with the instances that it found by semantics, whatever their score.
    Predictions of wrapper heads and of their base heads are shown too, and what else the heads declare: see
    `draw_pictures` and `draw_sheet` of `SemanticHead`.

    A class has one color in every panel, and its instances have shades of it. Images narrower than `PANEL_WIDTH` are
    enlarged by an integer factor, so that the labels can be read.

    Args:
        image: (H, W, 3) uint8, RGB.
        outputs: for this image, in either form of MODEL.UNIFIED.OUTPUT; missing predictions are left out, but with
            `unfused` all of them are needed.
        metadata: of the data set, as in Detectron2's MetadataCatalog.
        confidence_threshold: instances with a lower score, in [0, 1], are not drawn.
        legend: classes to explain: those that are "present", "all" (for pictures of one size, as in a video) or "none".
        ground_truth: (H, W) semantic ids or the ignore label; if errors are predicted, the actual ones are drawn too.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        ValueError: the image is not (H, W, 3) uint8, an output or the ground truth has another size, a class id is not
            in the metadata, or `unfused` comes without the predictions of a fusion.
    """
    _check_image(image)
    image = np.ascontiguousarray(image)  # OpenCV does not accept the view of a BGR image, [::-1]
    scene = Scene(image, outputs, ClassTable.from_metadata(metadata), ground_truth)
    panels = arrange_panels(scene, confidence_threshold)
    heads = registered_heads().values()
    pictures = [draw_input(image), *(panel.draw(image) for panel in panels)]
    pictures += [picture for head in heads for picture in head.draw_pictures(scene)]
    columns = choose_columns(len(pictures), is_wide=image.shape[1] > image.shape[0])
    sheets = [head.draw_sheet(scene, columns) for head in heads]
    overview = stack_pictures([make_grid(pictures, columns), *(sheet for sheet in sheets if sheet is not None)])
    return add_legend(overview, panels, scene.table, legend)


def draw_input(image: np.ndarray) -> Picture:
    """Return the image (H, W, 3) uint8 itself as a picture."""
    return Picture(to_canvas(image), f"input {image.shape[1]}×{image.shape[0]}")


def arrange_panels(scene: Scene, confidence_threshold: float = 0.5) -> list[Panel]:
    """Return the panels of a scene in their order, with captions that tell predictions before and after a step apart.

    Raises:
        ValueError: see `draw_panels`.
    """
    outputs, table = scene.outputs, scene.table
    panels = make_panels(outputs, table, confidence_threshold)
    # A wrapper's maps come after those of its base head.
    steps = earlier_predictions()
    earlier = {
        steps[name]: make_semantic_panel({"sem_seg_labels": logits.labels(scene.size)}, table)
        for name, logits in outputs.get("semantic_logit_maps", {}).items()
        if name in steps
    }
    arranged = [panel.prefix(f"before {step}") for step, panel in earlier.items()]
    if "unfused" in outputs:
        before = make_panels(outputs["unfused"], table, confidence_threshold)
        _check_fused(panels, before)
        pairs = {
            kind: [before[kind].prefix("before fusion"), panels[kind].prefix("after fusion")]
            for kind in ("semantic", "instances")
        }
        return [*pairs["semantic"], panels["panoptic"], *pairs["instances"], *arranged]
    if earlier:
        arranged.append(panels.pop("semantic").prefix(f"after {list(earlier)[-1]}"))
    return [*arranged, *panels.values()]


def add_legend(sheet: np.ndarray, panels: Sequence[Panel], table: ClassTable, legend: LegendMode) -> np.ndarray:
    """Add a legend of classes, in the order of the class table, below a sheet of panels; see `draw_panels`."""
    present = {name: color for panel in panels for name, color in panel.colors.items()}
    everything = {c.name: c.color for c in table.classes}
    shown = everything if legend == "all" else {n: c for n, c in everything.items() if n in present} | present
    if legend == "none" or not shown:
        return sheet
    return stack_pictures([sheet, draw_legend(list(shown.items()), sheet.shape[1])])


def choose_columns(num_pictures: int, is_wide: bool) -> int:
    """Return the number of columns of a grid: at most 3, but four wide pictures are 2 x 2, four others in one row."""
    return (2 if is_wide else 4) if num_pictures == 4 else min(num_pictures, 3)


def _check_fused(panels: Mapping[str, Panel], before: Mapping[str, Panel]) -> None:
    if set(panels) != set(KINDS) or not {"semantic", "instances"} <= set(before):
        raise ValueError(
            "outputs with `unfused` need a semantic map and instances before and after the fusion, and a panoptic map; "
            f"before there are {sorted(before)}, after {sorted(panels)}"
        )


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"image: expected RGB (H, W, 3) uint8, got {image.dtype} {image.shape}")
