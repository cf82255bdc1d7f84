import numpy as np

from unified_seg.visualization.text_labels import SegmentVisualizer, TextLabel


def write(labels, ids):
    """Return (text, x, y) for each label that a visualizer writes."""
    visualizer = SegmentVisualizer(np.zeros((*ids.shape, 3), np.uint8))
    visualizer.write_labels(labels, ids)
    return [(text.get_text(), *text.get_position()) for text in visualizer.figure.texts]


def test_large_region_is_labeled_in_its_middle():
    ids = np.ones((200, 600), np.int32)
    ((text, x, y),) = write([TextLabel(1, "sky", (0, 0, 255), False, None)], ids)
    assert text == "sky"
    assert 80 < y < 120 and 200 < x < 400


def test_thin_region_has_no_label():
    ids = np.zeros((200, 600), np.int32)
    ids[:, 300:304] = 1
    assert write([TextLabel(1, "pole", (90, 90, 90), False, None)], ids) == []


def test_small_thing_is_labeled_beside_itself():
    ids = np.zeros((200, 600), np.int32)
    ids[100:110, 300:306] = 1
    ((text, x, y),) = write([TextLabel(1, "person", (200, 0, 0), True, None)], ids)
    assert text == "person"
    assert not 95 <= y <= 115 and abs(x - 303) < 1


def test_labels_do_not_overlap():
    # Six equal boxes: there is room for a label above, one below and one inside.
    ids = np.zeros((300, 600), np.int32)
    ids[100:200, 200:400] = 1
    box = np.array([200.0, 100.0, 400.0, 200.0])
    names = write([TextLabel(i, f"thing {i}", (200, 0, 0), True, box) for i in range(1, 7)], ids)
    assert 2 <= len(names) <= 3
    assert len({y for _, _, y in names}) == len(names)


def test_labels_of_very_many_things_are_inside_segments():
    # 100 small things and a large one: 100 labels would hide the picture.
    ids = np.zeros((300, 600), np.int32)
    for number in range(100):
        row, column = divmod(number, 20)
        ids[30 + 20 * row : 36 + 20 * row, 30 * column : 30 * column + 6] = number + 1
    ids[180:290, 200:400] = 101
    labels = [TextLabel(i, "nucleus", (200, 0, 0), True, None) for i in range(1, 102)]
    ((_, x, y),) = write(labels, ids)
    assert ids[int(y), int(x)] == 101
    # A few of them have labels beside them.
    few = np.where(ids <= 5, ids, 0)
    assert len(write(labels[:5], few)) >= 3


def test_label_beyond_the_picture_is_not_written():
    ids = np.zeros((64, 64), np.int32)
    ids[0:5, 0:5] = 1
    assert write([TextLabel(1, "a very long name of a small thing", (1, 2, 3), True, None)], ids) == []


def test_segment_without_pixels_has_no_label():
    assert write([TextLabel(9, "ghost", (1, 2, 3), True, None)], np.zeros((100, 100), np.int32)) == []
