import numpy as np
from drawn_streets import save_panoptic
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unified_seg.data.coco.panoptic_segments import read_segments
from unified_seg.structures.class_table import ClassTable, SegmentClass


@given(arrays(np.int64, (6, 9), elements=st.sampled_from([0, 3, 300, 70000])))
@settings(deadline=None)
def test_read_segments_measures_areas_and_windows(tmp_path_factory, ids: np.ndarray):
    file = tmp_path_factory.getbasetemp() / "segments.png"
    save_panoptic(file, ids)
    table = ClassTable([SegmentClass("car", 0, 0, 26, "car", (0, 0, 0))])
    # In an order that is not that of the ids, and with an area that is wrong.
    infos = [{"id": int(i), "category_id": 0, "isthing": True, "area": 1} for i in np.unique(ids)[::-1] if i]
    record = {"pan_seg_file_name": str(file), "height": 6, "width": 9, "segments_info": infos}
    read, segments = read_segments(record, table)
    assert (read == ids).all()
    assert [s.id for s in segments] == [info["id"] for info in infos]
    for s in segments:
        mask = ids == s.id
        assert s.area == mask.sum()
        assert mask[s.window].sum() == s.area
        assert mask[s.window].any(axis=0)[[0, -1]].all() and mask[s.window].any(axis=1)[[0, -1]].all()
