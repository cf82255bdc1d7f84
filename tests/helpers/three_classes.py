"""A small class table: one kind of stuff and two things; the capitals are ids of the data set."""

from unified_seg.structures.class_table import ClassTable, SegmentClass

SKY, CAR, TRUCK = 23, 26, 27
TABLE = ClassTable(
    [
        SegmentClass("sky", 0, None, SKY, "sky", (70, 130, 180)),
        SegmentClass("car", 1, 0, CAR, "car", (0, 0, 142)),
        SegmentClass("truck", 2, 1, TRUCK, "truck", (0, 0, 70)),
    ]
)
