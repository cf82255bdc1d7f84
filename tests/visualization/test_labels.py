import numpy as np

from unified_seg.visualization.labels import Label, SegmentVisualizer


def written(labels, ids):
    """What a visualizer writes: (text, x, y) for each name."""
    visualizer = SegmentVisualizer(np.zeros((*ids.shape, 3), np.uint8))
    visualizer.write_labels(labels, ids)
    return [(text.get_text(), *text.get_position()) for text in visualizer.output.ax.texts]


def test_a_large_region_is_named_in_its_middle():
    ids = np.ones((200, 600), np.int32)
    ((text, x, y),) = written([Label(1, "sky", (0, 0, 255), False, None)], ids)
    assert text == "sky"
    assert 80 < y < 120 and 200 < x < 400


def test_a_thin_region_stays_without_a_name():
    ids = np.zeros((200, 600), np.int32)
    ids[:, 300:304] = 1
    assert written([Label(1, "pole", (90, 90, 90), False, None)], ids) == []


def test_a_small_thing_is_named_beside_itself():
    ids = np.zeros((200, 600), np.int32)
    ids[100:110, 300:306] = 1
    ((text, x, y),) = written([Label(1, "person", (200, 0, 0), True, None)], ids)
    assert text == "person"
    assert not 95 <= y <= 115 and abs(x - 303) < 1


def test_names_never_cover_each_other():
    # Six boxes on one spot: above and below there is room for two names, and one more fits inside.
    ids = np.zeros((300, 600), np.int32)
    ids[100:200, 200:400] = 1
    box = np.array([200.0, 100.0, 400.0, 200.0])
    names = written([Label(i, f"thing {i}", (200, 0, 0), True, box) for i in range(1, 7)], ids)
    assert 2 <= len(names) <= 3
    assert len({y for _, _, y in names}) == len(names)


def test_a_name_outside_the_picture_is_not_written():
    ids = np.zeros((64, 64), np.int32)
    ids[0:5, 0:5] = 1
    assert written([Label(1, "a very long name of a small thing", (1, 2, 3), True, None)], ids) == []


def test_a_segment_without_pixels_has_no_name():
    assert written([Label(9, "ghost", (1, 2, 3), True, None)], np.zeros((100, 100), np.int32)) == []
