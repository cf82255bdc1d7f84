"""Scenes: reproducible, independent of the image size, with all classes of Cityscapes."""

import hashlib
import json
from collections import Counter
from functools import cache

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels, name2label

from toyscapes import PRESETS, render_scene
from toyscapes import make_scene as make_scene_anew
from toyscapes.labels import make_label_maps
from toyscapes.scene import annotate

# Many tests look at the same scenes.
make_scene = cache(make_scene_anew)
TRAIN_CLASSES = {label.name for label in labels if not label.ignoreInEval}
THINGS = {label.name for label in labels if label.hasInstances and not label.ignoreInEval}

# Digests of decoded arrays. A change here is a change of the data: `standard` then needs a new VERSION.
DIGESTS = {
    ("demo", 0, "train", 0): "79515342492ef793",
    ("standard", 0, "train", 0): "f82393413a40e093",
    ("standard", 0, "val", 7): "69bdccb010177d69",
    ("standard", 5, "heldout", 2): "264ed32e0b542edf",
}
POLYGON_DIGESTS = {"train": "a0d7e662aec54cf9", "heldout": "362acb3db0a56093", "val": "3c8997775cacaa3e"}


def digest(scene, size=(128, 256)):
    maps = make_label_maps(annotate(scene, size))
    content = [maps.label_ids.tobytes(), maps.train_ids.tobytes(), maps.instance_ids.astype("<u2").tobytes()]
    return hashlib.sha256(b"".join(content)).hexdigest()[:16]


@pytest.mark.parametrize("key", DIGESTS, ids=lambda key: "-".join(map(str, key)))
def test_label_arrays_are_the_same_on_every_machine(key):
    assert digest(make_scene(*key)) == DIGESTS[key]


@pytest.mark.parametrize("split", POLYGON_DIGESTS)
def test_polygons_of_standard_do_not_change(split):
    # Many scenes, so that a changed frequency is noticed too.
    scenes = [annotate(make_scene("standard", 0, split, index), (128, 256))["objects"] for index in range(24)]
    assert hashlib.sha256(json.dumps(scenes).encode()).hexdigest()[:16] == POLYGON_DIGESTS[split]


def test_every_part_of_the_name_changes_the_scene():
    names = [("demo", 0, "val", 0), ("standard", 0, "val", 0), ("demo", 1, "val", 0), ("demo", 0, "heldout", 0),
             ("demo", 0, "val", 1)]  # fmt: skip
    assert len({digest(make_scene(*name)) for name in names}) == len(names)


@pytest.mark.parametrize("preset", PRESETS)
def test_sizes_give_the_same_scene(preset):
    agreement = []
    for index in range(5):
        scene = make_scene(preset, 0, "val", index)
        small = make_label_maps(annotate(scene, (128, 256))).train_ids
        large = make_label_maps(annotate(scene, (512, 1024))).train_ids
        agreement.append((small == large[2::4, 2::4]).mean())
    assert min(agreement) > 0.9


@pytest.mark.parametrize("preset", PRESETS)
def test_every_pixel_is_labeled_and_every_instance_visible(preset):
    for index in range(5):
        polygons = annotate(make_scene(preset, 0, "val", index), (128, 256))
        maps = make_label_maps(polygons)
        assert maps.label_ids.min() > 0
        annotated = sum(obj["label"] in THINGS for obj in polygons["objects"])
        assert (np.unique(maps.instance_ids) >= 1000).sum() == annotated


@pytest.fixture(scope="module")
def standard():
    """Instances, and images with each label, in 60 scenes each of two splits of `standard`."""
    instances, images = {}, {}
    for split in ("train", "val"):
        instances[split], images[split] = Counter(), Counter()
        for index in range(60):
            objects = make_scene("standard", 0, split, index).objects
            instances[split].update(obj.label for obj in objects)
            images[split].update({obj.label for obj in objects})
    return instances, images


def test_all_classes_and_void_labels_occur(standard):
    _, images = standard
    assert all(images["val"][name] >= 9 for name in TRAIN_CLASSES)
    voids = ("ego vehicle", "rectification border", "out of roi", "static", "dynamic", "rail track")
    assert all(images["val"][name] for name in voids)
    assert all(images["val"][f"{name}group"] for name in ("person", "car", "bicycle"))
    assert images["val"]["license plate"]


def test_validation_has_fifty_instances_per_class_training_fewer_rare_ones(standard):
    instances, _ = standard
    assert all(instances["val"][name] * 5 >= 60 for name in THINGS)
    for name in ("truck", "bus", "train", "motorcycle", "rider"):
        assert 0 < instances["train"][name] < 0.85 * instances["val"][name]


def test_some_vehicles_are_wide_and_some_poles_thin():
    wide, thin = 0, 0
    for index in range(30):
        for obj in make_scene("standard", 0, "val", index).objects:
            extent = np.clip(obj.polygon, 0, [2, 1]).max(axis=0) - np.clip(obj.polygon, 0, [2, 1]).min(axis=0)
            wide += obj.label in ("truck", "bus", "train") and extent[0] > 2 / 3
            thin += obj.label == "pole" and extent[0] * 128 < 3
    assert wide >= 10
    assert thin >= 30


def test_demo_has_few_and_no_tiny_instances():
    numbers, areas = [], []
    for index in range(25):
        maps = make_label_maps(annotate(make_scene("demo", 0, "val", index), (128, 256)))
        ids, counts = np.unique(maps.instance_ids, return_counts=True)
        numbers.append((ids >= 1000).sum())
        areas += counts[ids >= 1000].tolist()
    low, high = np.percentile(numbers, [10, 90])
    assert low >= 4 and high <= 11
    assert min(areas) >= 50


@pytest.mark.parametrize("size", [(64, 64), (128, 256), (200, 333)])
def test_image_and_annotation_have_the_requested_size(size):
    image, polygons = render_scene(make_scene("standard", 0, "train", 1), size)
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert (polygons["imgHeight"], polygons["imgWidth"]) == size


def test_images_are_reproducible_and_match_their_labels():
    scene = make_scene("demo", 0, "val", 0)
    image, polygons = render_scene(scene, (128, 256))
    assert np.array_equal(image, render_scene(scene, (128, 256))[0])
    ids = make_label_maps(polygons).label_ids
    sky, road = (image[ids == name2label[name].id].mean() for name in ("sky", "road"))
    assert sky > road + 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", 0, "val", 0), "unknown preset 'nothing'"),
        (("demo", 0, "test", 0), "unknown split 'test'"),
        (("demo", 0, "val", -1), "index must not be negative"),
    ],
)
def test_invalid_names_raise_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_scene(*arguments)


@pytest.mark.parametrize("size", [(63, 128), (128,), (128, 256.5)])
def test_invalid_sizes_raise_an_error(size):
    with pytest.raises(ValueError, match="integers of at least 64"):
        render_scene(make_scene("demo", 0, "val", 0), size)
