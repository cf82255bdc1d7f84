"""Pictures of what a model says and of what the data set says, in the colors of the class table."""

from unified_seg.visualization.changes import draw_change, measure_change
from unified_seg.visualization.ground_truth import draw_comparison, draw_ground_truth
from unified_seg.visualization.panels import add_legend, draw_panels
from unified_seg.visualization.sheet import add_caption, make_contact_sheet, make_grid

__all__ = [
    "add_caption",
    "make_contact_sheet",
    "draw_change",
    "draw_comparison",
    "draw_ground_truth",
    "draw_panels",
    "make_grid",
    "measure_change",
    "add_legend",
]
