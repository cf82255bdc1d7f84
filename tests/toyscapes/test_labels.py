"""Label arrays against the conversion of the same polygons by cityscapesScripts."""

import json

import numpy as np
import pytest
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
from cityscapesscripts.preparation.json2labelImg import createLabelImage

from toyscapes import make_scene
from toyscapes.labels import make_label_maps
from toyscapes.scene import annotate


def assert_equals_cityscapes(polygons):
    reference = Annotation()
    reference.fromJsonText(json.dumps(polygons))
    maps = make_label_maps(polygons)
    np.testing.assert_array_equal(maps.label_ids, np.asarray(createLabelImage(reference, "ids")))
    np.testing.assert_array_equal(maps.train_ids, np.asarray(createLabelImage(reference, "trainIds")))
    np.testing.assert_array_equal(maps.instance_ids, np.asarray(createInstanceImage(reference, "ids")))


@pytest.mark.parametrize("preset", ["demo", "standard"])
@pytest.mark.parametrize("index", range(6))
def test_label_arrays_of_scenes_equal_cityscapes_scripts(preset, index):
    assert_equals_cityscapes(annotate(make_scene(preset, 3, "val", index), (128, 256)))


def square(label, left, top, side=20, **more):
    corners = [[left, top], [left + side, top], [left + side, top + side], [left, top + side]]
    return {"label": label, "polygon": corners, **more}


def test_deleted_hidden_and_group_objects_equal_cityscapes_scripts():
    polygons = {
        "imgHeight": 64,
        "imgWidth": 96,
        "objects": [
            square("road", -5, -5, 60),
            square("car", 0, 0),
            square("car", 10, 0, deleted=1),  # not numbered
            square("car", 30, 5),  # hidden by the next, but numbered
            square("car", 30, 5),
            square("cargroup", 40, 30),  # has the label id
            square("polegroup", 60, 30),  # a class of its own
            square("caravan", 70, 5),  # has instances, is ignored in the evaluation
            square("license plate", 0, 0),  # negative id, not drawn
        ],
    }
    assert_equals_cityscapes(polygons)
    ids = set(np.unique(make_label_maps(polygons).instance_ids).tolist())
    assert {26000, 26002, 26, 18, 29000} <= ids and 26001 not in ids


@pytest.mark.parametrize("label", ["unicorn", "unicorngroup", "group"])
def test_unknown_labels_raise_an_error(label):
    with pytest.raises(ValueError, match=f"no label '{label}'"):
        make_label_maps({"imgHeight": 64, "imgWidth": 64, "objects": [square(label, 0, 0)]})
