"""Pictures of an exported model's predictions."""

import numpy as np

from unified_seg_arrays.class_table import ClassTable, SegmentClass
from unified_seg_runtime.drawing import OUTLINE, draw_prediction
from unified_seg_runtime.results import Instances, Prediction

TABLE = ClassTable([SegmentClass("car", 0, 0, 1, "car", (9, 9, 9))])


def test_thin_boxes_at_the_border_are_inside_the_picture() -> None:
    # Both are rounded to the border: a column at the right, a row at the bottom.
    boxes = np.array([[99.7, 10, 100, 90], [10, 99.7, 90, 100]], dtype=np.float32)
    instances = Instances(boxes, np.ones(2, np.float32), np.zeros(2, np.int64))
    drawn = draw_prediction(np.zeros((100, 100, 3), np.uint8), Prediction(instances=instances), TABLE)
    # Where no name is written.
    assert (drawn[99, [10, 11, 88, 89]] == OUTLINE).all() and (drawn[[10, 11, 88, 89], 99] == OUTLINE).all()
    assert not (drawn[98, [10, 11, 88, 89]] == OUTLINE).any()
