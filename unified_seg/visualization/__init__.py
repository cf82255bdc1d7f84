"""Drawing of predictions and ground truth, in the colors of the class table."""

from unified_seg.visualization.changes import draw_change, measure_change
from unified_seg.visualization.comparison import draw_comparison, draw_ground_truth, draw_with_ground_truth
from unified_seg.visualization.overview import add_legend, draw_panels
from unified_seg.visualization.sheet import Picture, add_caption, make_grid

__all__ = [
    "Picture",
    "add_caption",
    "add_legend",
    "draw_change",
    "draw_comparison",
    "draw_ground_truth",
    "draw_panels",
    "draw_with_ground_truth",
    "make_contact_sheet",
    "make_grid",
    "measure_change",
]
