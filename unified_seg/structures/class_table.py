"""The label convention, which `unified_seg_arrays.class_table` defines without torch."""

from unified_seg_arrays.class_table import (
    IGNORE_LABEL,
    WIDE_IGNORE_LABEL,
    ClassTable,
    Color,
    SegmentClass,
    make_voc_palette,
    map_classes_to_categories,
)

__all__ = [
    "IGNORE_LABEL",
    "WIDE_IGNORE_LABEL",
    "ClassTable",
    "Color",
    "SegmentClass",
    "make_voc_palette",
    "map_classes_to_categories",
]
