"""Pictures of what a model says and of what the data set says, in the colors of the class table."""

from unified_seg.visualization.changes import draw_change, semantic_change
from unified_seg.visualization.ground_truth import draw_comparison, draw_ground_truth
from unified_seg.visualization.panels import draw_panels, with_legend
from unified_seg.visualization.sheet import add_caption, contact_sheet, grid

__all__ = [
    "add_caption",
    "contact_sheet",
    "draw_change",
    "draw_comparison",
    "draw_ground_truth",
    "draw_panels",
    "grid",
    "semantic_change",
    "with_legend",
]
