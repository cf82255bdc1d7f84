import numpy as np

from unified_seg.data.pipeline.instances import make_instances, make_instances_from_segments

SIZE = (24, 32)


def test_boxes_are_tight_and_empty_masks_left_out() -> None:
    mask = np.array([[0, 0, 0], [0, 1, 1]], dtype=bool)
    instances = make_instances([(3, 4, mask), (0, 0, ~mask[:0]), (0, 0, mask & False)], [7, 8, 9], SIZE)
    assert instances.gt_boxes.tensor.tolist() == [[5.0, 4.0, 7.0, 5.0]]
    assert instances.gt_classes.tolist() == [7]
    assert instances.gt_masks.tensor.nonzero().tolist() == [[0, 4, 5], [0, 4, 6]]


def test_segments_give_the_visible_things() -> None:
    segments = np.zeros(SIZE, dtype=np.uint8)
    segments[2:5, 3:9], segments[10, 10], segments[20:] = 1, 3, 4
    infos = [{"isthing": True, "category_id": i} for i in range(4)]
    infos[3]["isthing"] = False
    instances = make_instances_from_segments(segments, infos)
    assert instances.gt_classes.tolist() == [0, 2]
    assert instances.gt_boxes.tensor.tolist() == [[3.0, 2.0, 9.0, 5.0], [10.0, 10.0, 11.0, 11.0]]
    assert np.array_equal(instances.gt_masks.tensor.numpy(), [segments == 1, segments == 3])
