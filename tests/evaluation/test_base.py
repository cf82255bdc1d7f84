from pathlib import Path

import numpy as np
from drawn_streets import Streets, draw_street, save_panoptic

from unified_seg.evaluation.base import PanopticGroundTruth, SparseCounts, sum_counts


def test_reader_caches_the_last_image_until_cleared(streets: Streets):
    """Item 38: ground truth that changed is read again."""
    records = [streets.add(f"street_{i}", draw_street(things=())) for i in range(2)]
    ground_truth = PanopticGroundTruth(streets.table)
    ids, _ = ground_truth.read(records[0])
    assert ground_truth.read(records[0])[0] is ids
    save_panoptic(Path(records[1]["pan_seg_file_name"]), np.roll(draw_street(things=()).segments, 5, axis=0))
    assert (ground_truth.read(records[1])[0] == np.roll(ids, 5, axis=0)).all()
    assert ground_truth.read(records[0])[0] is not ids
    save_panoptic(Path(records[0]["pan_seg_file_name"]), np.roll(draw_street(things=()).segments, 7, axis=0))
    ground_truth.clear()
    assert (ground_truth.read(records[0])[0] == np.roll(ids, 7, axis=0)).all()


def test_sparse_counts_sum_to_the_arrays():
    arrays = [np.array([[0, 3], [0, 0]]), np.array([[2, 4], [0, 1]])]
    items = [SparseCounts.from_array(array, valid_pixels=0) for array in arrays]
    assert [item.counts.tolist() for item in items] == [[3], [2, 4, 1]]
    assert (items[1].to_array((2, 2)) == arrays[1]).all()
    assert (sum_counts(items, (2, 2)) == arrays[0] + arrays[1]).all()
