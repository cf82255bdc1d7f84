"""Label arrays against cityscapesScripts' own conversion of the same polygons."""

import json

import numpy as np
import pytest
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
from cityscapesscripts.preparation.json2labelImg import createLabelImage

from toyscapes import make_scene
from toyscapes.labels import label_maps
from toyscapes.scene import annotation


def assert_equals_cityscapes(polygons):
    reference = Annotation()
    reference.fromJsonText(json.dumps(polygons))
    maps = label_maps(polygons)
    np.testing.assert_array_equal(maps.label_ids, np.asarray(createLabelImage(reference, "ids")))
    np.testing.assert_array_equal(maps.train_ids, np.asarray(createLabelImage(reference, "trainIds")))
    np.testing.assert_array_equal(maps.instance_ids, np.asarray(createInstanceImage(reference, "ids")))


@pytest.mark.parametrize("preset", ["demo", "standard"])
@pytest.mark.parametrize("index", range(6))
def test_scenes(preset, index):
    assert_equals_cityscapes(annotation(make_scene(preset, 3, "val", index), (128, 256)))


def square(label, left, top, side=20, **more):
    corners = [[left, top], [left + side, top], [left + side, top + side], [left, top + side]]
    return {"label": label, "polygon": corners, **more}


def test_deleted_groups_hidden_and_undrawn_objects():
    polygons = {
        "imgHeight": 64,
        "imgWidth": 96,
        "objects": [
            square("road", -5, -5, 60),
            square("car", 0, 0),
            square("car", 10, 0, deleted=1),  # takes no number
            square("car", 30, 5),  # hidden by the next, takes a number all the same
            square("car", 30, 5),
            square("cargroup", 40, 30),  # the plain class id
            square("polegroup", 60, 30),  # a class of its own
            square("caravan", 70, 5),  # has instances, is ignored in evaluation
            square("license plate", 0, 0),  # negative id, not drawn
        ],
    }
    assert_equals_cityscapes(polygons)
    ids = set(np.unique(label_maps(polygons).instance_ids).tolist())
    assert {26000, 26002, 26, 18, 29000} <= ids and 26001 not in ids


@pytest.mark.parametrize("label", ["unicorn", "unicorngroup", "group"])
def test_unknown_labels(label):
    with pytest.raises(ValueError, match=f"no label '{label}'"):
        label_maps({"imgHeight": 64, "imgWidth": 64, "objects": [square(label, 0, 0)]})
