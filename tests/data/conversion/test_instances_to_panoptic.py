"""COCO's panoptic format from instances and semantic maps: by hand, and against panopticapi.

The meadow is 6 x 8 pixels: sky over grass, void in its first corner, a cow that the semantic map has in the rows 2 to
4 and columns 1 to 4, and one pixel of cow in the last corner. Of the instances the cow has the columns 1 to 3 alone; a
hen before it has the rows 3 to 4 and columns 3 to 5.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from panopticapi.combine_semantic_and_instance_predictions import combine_to_panoptic_single_core
from panopticapi.evaluation import pq_compute
from PIL import Image
from pycocotools import mask as mask_util

from unified_seg.data.coco.categories import read_classes
from unified_seg.data.conversion.instances_to_panoptic import Instance, convert_to_panoptic, draw_panoptic
from unified_seg.data.datasets.custom import CustomDataset
from unified_seg.data.io.label_files import read_panoptic_ids
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.data.validation.checks import check_record
from unified_seg.structures.class_table import ClassTable, SegmentClass

SKY, GRASS, COW, HEN = 3, 7, 10, 20
CATEGORIES = [
    {"id": SKY, "name": "sky", "isthing": 0, "color": [70, 130, 180]},
    {"id": GRASS, "name": "grass", "isthing": 0, "color": [0, 200, 0], "supercategory": "ground"},
    {"id": COW, "name": "cow", "isthing": 1, "color": [90, 50, 0], "supercategory": "animal"},
    {"id": HEN, "name": "hen", "isthing": 1, "color": [200, 100, 0], "supercategory": "animal"},
]
CLASSES = [
    SegmentClass("sky", 0, None, SKY, "sky", (70, 130, 180)),
    SegmentClass("grass", 1, None, GRASS, "ground", (0, 200, 0)),
    SegmentClass("cow", 2, 0, COW, "animal", (90, 50, 0)),
    SegmentClass("hen", 3, 1, HEN, "animal", (200, 100, 0)),
]
TABLE = ClassTable(CLASSES)
COW_CLASS, HEN_CLASS = CLASSES[2:]
SIZE = (6, 8)

MEADOW = np.array([
    [255, 3, 3, 3, 3, 3, 3, 3],
    [3, 3, 3, 3, 3, 3, 3, 3],
    [3, 10, 10, 10, 10, 3, 3, 3],
    [7, 10, 10, 10, 10, 7, 7, 7],
    [7, 10, 10, 10, 10, 7, 7, 7],
    [7, 7, 7, 7, 7, 7, 7, 10],
], dtype=np.uint8)  # fmt: skip

# The hen is annotation 1 and the cow 2, so sky is segment 3 and grass 4. Where the semantic map has cow and no
# instance is, at (2, 4) and (5, 7), and at the void corner, nothing is.
HEN_IN_FRONT = np.array([
    [0, 3, 3, 3, 3, 3, 3, 3],
    [3, 3, 3, 3, 3, 3, 3, 3],
    [3, 2, 2, 2, 0, 3, 3, 3],
    [4, 2, 2, 1, 1, 1, 4, 4],
    [4, 2, 2, 1, 1, 1, 4, 4],
    [4, 4, 4, 4, 4, 4, 4, 0],
])  # fmt: skip
SEGMENTS = [
    {"id": 1, "category_id": HEN, "area": 6, "bbox": [3, 3, 3, 2], "iscrowd": 0},
    {"id": 2, "category_id": COW, "area": 7, "bbox": [1, 2, 3, 3], "iscrowd": 0},
    {"id": 3, "category_id": SKY, "area": 19, "bbox": [0, 0, 8, 3], "iscrowd": 0},
    {"id": 4, "category_id": GRASS, "area": 13, "bbox": [0, 3, 8, 3], "iscrowd": 0},
]


def rle(mask: np.ndarray) -> dict[str, Any]:
    encoded = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def rectangle(rows: slice, columns: slice, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[rows, columns] = True
    return mask


HEN_MASK, COW_MASK = rectangle(slice(3, 5), slice(3, 6)), rectangle(slice(2, 5), slice(1, 4))


def semantic_ids(pixels: np.ndarray) -> np.ndarray:
    ids = np.full(pixels.shape, 255)
    for cls in CLASSES:
        ids[pixels == cls.dataset_id] = cls.semantic_id
    return ids


def instance(cls: SegmentClass, mask: np.ndarray, is_crowd: bool = False) -> Instance:
    return Instance(cls, is_crowd, rle(mask), "instances.json: record")


def test_the_smaller_instance_is_in_front() -> None:
    made = draw_panoptic(semantic_ids(MEADOW), [instance(HEN_CLASS, HEN_MASK), instance(COW_CLASS, COW_MASK)], TABLE)
    assert made.ids.tolist() == HEN_IN_FRONT.tolist()
    assert made.segments == SEGMENTS
    assert (made.hidden, made.uncovered) == (0, 2)


def test_with_order_file_the_later_instance_is_in_front() -> None:
    instances = [instance(HEN_CLASS, HEN_MASK), instance(COW_CLASS, COW_MASK)]
    made = draw_panoptic(semantic_ids(MEADOW), instances, TABLE, order="file")
    expected = HEN_IN_FRONT.copy()
    expected[3:5, 3] = 2
    assert made.ids.tolist() == expected.tolist()
    turned = draw_panoptic(semantic_ids(MEADOW), instances[::-1], TABLE, order="file")
    assert [s["area"] for s in turned.segments[:2]] == [7, 6]


def test_of_equal_instances_the_later_one_is_in_front() -> None:
    left, right = rectangle(slice(0, 1), slice(0, 2)), rectangle(slice(0, 1), slice(1, 3))
    made = draw_panoptic(semantic_ids(MEADOW), [instance(COW_CLASS, left), instance(HEN_CLASS, right)], TABLE)
    assert made.ids[0, :3].tolist() == [1, 2, 2]


def test_crowds_are_behind_and_joined_by_class() -> None:
    instances = [
        instance(COW_CLASS, rectangle(slice(0, 2), slice(0, 4))),  # 8 pixels, larger than any crowd
        instance(HEN_CLASS, rectangle(slice(1, 2), slice(3, 5)), is_crowd=True),
        instance(COW_CLASS, rectangle(slice(5, 6), slice(0, 1)), is_crowd=True),
        instance(HEN_CLASS, rectangle(slice(5, 6), slice(5, 8)), is_crowd=True),
    ]
    made = draw_panoptic(semantic_ids(np.full(SIZE, SKY)), instances, TABLE)
    expected = np.full(SIZE, 5)  # sky: 4 annotations + 1
    expected[0:2, 0:4] = 1
    expected[1, 4] = 2  # of the first crowd of hens one pixel is seen
    expected[5, 0] = 3
    expected[5, 5:8] = 2
    assert made.ids.tolist() == expected.tolist()
    assert [(s["id"], s["category_id"], s["iscrowd"], s["area"]) for s in made.segments] == [
        (1, COW, 0, 8), (2, HEN, 1, 4), (3, COW, 1, 1), (5, SKY, 0, 35),
    ]  # fmt: skip
    assert made.hidden == 0


def test_instances_without_a_visible_pixel_are_counted() -> None:
    whole = rectangle(slice(0, 2), slice(0, 2))
    parts = [rectangle(slice(0, 2), slice(0, 1)), rectangle(slice(0, 2), slice(1, 2))]
    outside = Instance(HEN_CLASS, False, [[-3, 0, -1, 0, -1, 2]], "")
    instances = [instance(COW_CLASS, whole), *(instance(HEN_CLASS, part) for part in parts), outside]
    made = draw_panoptic(semantic_ids(MEADOW), [*instances, instance(COW_CLASS, whole, is_crowd=True)], TABLE)
    assert [s["id"] for s in made.segments[:2]] == [2, 3]
    assert made.hidden == 3  # the cow, the hen outside of the image, and the crowd


@given(data=st.data())
@settings(deadline=None)
def test_separate_instances_keep_all_pixels(data: st.DataObject) -> None:
    size = (data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7)))
    owners = data.draw(arrays(np.int8, size, elements=st.integers(0, 4)))
    pixels = data.draw(arrays(np.uint8, size, elements=st.sampled_from([SKY, GRASS, COW, HEN, 255])))
    order = data.draw(st.sampled_from(["area", "file"]))
    instances = [instance(data.draw(st.sampled_from(CLASSES[2:])), owners == owner) for owner in (1, 2, 3, 4)]
    made = draw_panoptic(semantic_ids(pixels), instances, TABLE, order)
    stuff = np.select([pixels == SKY, pixels == GRASS], [5, 6], 0)
    assert np.array_equal(made.ids, np.where(owners > 0, owners, stuff))
    assert {s["id"]: s["area"] for s in made.segments} == {
        i: n for i, n in zip(*(v.tolist() for v in np.unique(made.ids, return_counts=True))) if i
    }
    assert made.hidden == 4 - len(np.setdiff1d(owners, [0]))
    assert made.uncovered == ((owners == 0) & np.isin(pixels, [COW, HEN])).sum()


@pytest.mark.parametrize("order", ["area", "file"])
def test_panopticapi_combines_to_the_same(tmp_path: Path, order: str) -> None:
    """It puts the first instance that it is given in front, and stuff behind all."""
    rng = np.random.default_rng(0)
    size, images, things, stuff, actual = (20, 30), {}, {}, {}, {}
    for image_id in range(12):
        instances = []
        for _ in range(rng.integers(0, 9)):
            top, left = rng.integers(0, 15), rng.integers(0, 22)
            window = slice(top, top + rng.integers(1, 9)), slice(left, left + rng.integers(1, 12))
            instances.append(instance(CLASSES[rng.integers(2, 4)], rectangle(*window, size)))
        pixels = rng.choice([SKY, GRASS, 255], size)
        actual[image_id] = draw_panoptic(semantic_ids(pixels), instances, TABLE, order)
        images[image_id] = {"file_name": f"{image_id}.jpg", "height": size[0], "width": size[1]}
        front_first = instances[::-1]
        if order == "area":
            front_first.sort(key=lambda i: mask_util.area(i.segmentation))
        things[image_id] = [{"category_id": i.cls.dataset_id, "segmentation": i.segmentation} for i in front_first]
        stuff[image_id] = [{"category_id": c, "segmentation": rle(pixels == c)} for c in (SKY, GRASS)]
    categories = {c["id"]: c for c in CATEGORIES}
    made = combine_to_panoptic_single_core(0, list(images), images, things, stuff, str(tmp_path), 0.9999, 1, categories)
    assert len(made) == 12 and (order == "area" or any(panoptic.hidden for panoptic in actual.values()))
    for annotation in made:
        panoptic = actual[annotation["image_id"]]
        expected = read_panoptic_ids(tmp_path / annotation["file_name"])
        assert as_masks(panoptic.ids, panoptic.segments) == as_masks(expected, annotation["segments_info"])


def as_masks(ids: np.ndarray, segments: list[dict[str, Any]]) -> list[tuple[int, bytes]]:
    return sorted((s["category_id"], (ids == s["id"]).tobytes()) for s in segments)


@pytest.fixture
def meadow(tmp_path: Path) -> Path:
    """The meadow a/one.jpg, whose hen is a polygon and whose cow run lengths, and only grass two.png."""
    for folder in ("images/a", "semantic/a"):
        (tmp_path / folder).mkdir(parents=True)
    for name, pixels in (("a/one.jpg", MEADOW), ("two.png", np.full(SIZE, GRASS, dtype=np.uint8))):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "images" / name)
        Image.fromarray(pixels).save((tmp_path / "semantic" / name).with_suffix(".png"))
    images = [{"id": i, "file_name": n, "height": 6, "width": 8} for i, n in ((7, "a/one.jpg"), (9, "two.png"))]
    hen = {"id": 1, "image_id": 7, "category_id": HEN, "iscrowd": 0, "segmentation": [[3, 3, 6, 3, 6, 5, 3, 5]]}
    cow = {"id": 2, "image_id": 7, "category_id": COW, "segmentation": rle(COW_MASK)}
    things = [{"id": c["id"], "name": c["name"]} for c in CATEGORIES if c["isthing"]]
    content = {"images": images, "annotations": [hen, cow], "categories": things}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump(CATEGORIES))
    return tmp_path


def convert(folder: Path, **options: Any) -> Any:
    given = {"classes_file": folder / "classes.yaml", "image_root": folder / "images"}
    return convert_to_panoptic(folder / "instances.json", folder / "semantic", folder / "out", **{**given, **options})


def test_files_are_those_made_by_hand(meadow: Path) -> None:
    summary = convert(meadow)
    assert summary == (2, 5, 96, 0, 2)
    content = json.loads((meadow / "out/panoptic.json").read_text())
    grass = {"id": 2, "category_id": GRASS, "area": 48, "bbox": [0, 0, 8, 6], "iscrowd": 0}
    assert content["annotations"] == [
        {"image_id": 7, "file_name": "a/one.png", "segments_info": SEGMENTS},
        {"image_id": 9, "file_name": "two.png", "segments_info": [grass]},
    ]
    assert content["images"] == json.loads((meadow / "instances.json").read_text())["images"]
    assert read_panoptic_ids(meadow / "out/panoptic/a/one.png").tolist() == HEN_IN_FRONT.tolist()
    assert not list(meadow.rglob(".*"))


def test_a_custom_data_set_reads_the_files(meadow: Path) -> None:
    convert(meadow)
    entry = {"NAME": "meadow", "IMAGES": "images", "PANOPTIC": "out/panoptic.json"}
    dataset = CustomDataset.from_entry(entry, meadow)
    assert dataset.read_table().classes == read_classes(meadow / "classes.yaml").classes == tuple(CLASSES)
    for record, areas in zip(dataset.load(), ([19, 13, 7, 6], [0, 48, 0, 0]), strict=True):
        check_record(record, dataset.read_table())
        ground_truth = read_semantic_ground_truth(record, dataset.read_table())
        assert np.bincount(ground_truth[ground_truth < 255], minlength=4).tolist() == areas


def test_panopticapi_reads_the_files(meadow: Path) -> None:
    convert(meadow)
    scores = pq_compute(str(meadow / "out/panoptic.json"), str(meadow / "out/panoptic.json"))
    assert (scores["All"]["pq"], scores["All"]["n"]) == (1.0, 4)


def test_flat_folders_and_zero_as_void_are_read(meadow: Path) -> None:
    semantic = np.where(MEADOW == 255, 0, MEADOW)
    Image.fromarray(semantic.astype(np.uint8)).save(meadow / "semantic/one.png")
    (meadow / "semantic/a/one.png").unlink()
    convert(meadow)
    assert read_panoptic_ids(meadow / "out/panoptic/a/one.png").tolist() == HEN_IN_FRONT.tolist()


def test_categories_with_stuff_need_no_classes_file(meadow: Path) -> None:
    edit(meadow, "categories", CATEGORIES)
    convert(meadow, classes_file=None)
    assert json.loads((meadow / "out/panoptic.json").read_text())["categories"] == CATEGORIES


def edit(folder: Path, key: str, value: Any) -> None:
    """Change one value, such as annotations.0.iscrowd, of the instance JSON."""
    content = json.loads((folder / "instances.json").read_text())
    *path, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    target = content
    for part in path:
        target = target[part]
    target[last] = copy.deepcopy(value)
    (folder / "instances.json").write_text(json.dumps(content))


def edits(key: str, value: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder, key, value)


def png(name: str, pixels: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: Image.fromarray(pixels).save(folder / name)


def removes(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


BAD = {
    "no JSON": (lambda f: (f / "instances.json").write_text("{"), "instances.json: not readable as JSON"),
    "no file": (removes("instances.json"), "instances.json: there is no such file"),
    "no list": (edits("annotations", {}), "instances.json: expected a list of annotations records"),
    "no image": (edits("images", []), "instances.json: no image in it"),
    "unknown image": (edits("annotations.1.image_id", 8), r"annotations record 1: its image id 8 is not among"),
    "unknown class": (edits("annotations.1.category_id", 4), r"record 1 \(image 7\): unknown category_id 4"),
    "stuff": (edits("annotations.0.category_id", SKY), r"\(image 7\): category_id 3 is sky, which is stuff"),
    "crowd": (edits("annotations.0.iscrowd", 2), r"annotations record 0: iscrowd must be int <= 1, got 2"),
    "no mask": (edits("annotations.0.segmentation", None), r"record 0 \(image 7\): segmentation: a mask must be"),
    "mask size": (edits("annotations.1.segmentation.size", [8, 6]), "segmentation: the mask has the size"),
    "far away": (edits("annotations.0.segmentation", [[0, 0, 1e9, 0, 0, 5]]), "which is NaN or far outside"),
    "leaves": (edits("images.0.file_name", "../one.jpg"), "leads out of"),
    "one PNG": (edits("images.1.file_name", "a/one.png"), "would both have the PNG a/one.png"),
    "other name": (edits("categories.0.name", "duck"), "category 10 has the name 'duck', but 'cow'"),
    "no map": (removes("semantic/two.png"), "semantic/two.png: there is no such file, the semantic map of image 9"),
    "map size": (png("semantic/two.png", np.full((8, 6), GRASS, np.uint8)), r"two.png: 8x6 pixels, its image"),
    "map value": (png("semantic/two.png", np.full(SIZE, 99, np.uint8)), r"semantic/two.png: the values \[99\]"),
    "map colors": (png("semantic/two.png", np.zeros((*SIZE, 3), np.uint8)), "two.png: a label map has one channel"),
    "absent image": (removes("images/two.png"), "images/two.png: there is no such file"),
    "image size": (png("images/two.png", np.zeros((3, 8), np.uint8)), "two.png: 3x8 pixels, but 6x8"),
    "no classes": (removes("classes.yaml"), "classes.yaml: there is no such file"),
    "no stuff": (
        lambda f: (f / "classes.yaml").write_text("- {id: 10, name: cow, isthing: 1}"),
        "classes.yaml: all its classes are things; --classes must name",
    ),
    "wide ids": (
        lambda f: (f / "classes.yaml").write_text("[{id: 70000, name: sky}, {id: 10, name: cow, isthing: 1}]"),
        "classes.yaml: dataset ids must be .*, got 10 to 70000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error(meadow: Path, name: str) -> None:
    change, message = BAD[name]
    change(meadow)
    with pytest.raises(DataError, match=message):
        convert(meadow)
    assert not (meadow / "out/panoptic.json").exists()


def test_things_alone_need_classes(meadow: Path) -> None:
    with pytest.raises(DataError, match=r"instances\.json: all its classes are things"):
        convert(meadow, classes_file=None)


def test_outputs_in_inputs_are_refused(meadow: Path) -> None:
    for folder in (meadow / "semantic", meadow / "images/a"):
        with pytest.raises(DataError, match="the output must not overlap with the input"):
            convert_to_panoptic(
                meadow / "instances.json", meadow / "semantic", folder, image_root=meadow / "images", workers=1
            )
    (meadow / "instances.json").rename(meadow / "panoptic.json")
    with pytest.raises(DataError, match=r"the output must not overlap with the input .*panoptic\.json"):
        convert_to_panoptic(meadow / "panoptic.json", meadow / "semantic", meadow)


def test_links_out_of_the_output_are_not_followed(meadow: Path) -> None:
    (meadow / "elsewhere").mkdir()
    (meadow / "out/panoptic").mkdir(parents=True)
    (meadow / "out/panoptic/a").symlink_to(meadow / "elsewhere")
    with pytest.raises(DataError, match="leads out of"):
        convert(meadow)
    assert not list((meadow / "elsewhere").iterdir())


def test_ignored_regions_are_void_behind_the_instances(meadow: Path) -> None:
    """The labelme conversion writes a crowd of each class for them."""
    content = json.loads((meadow / "instances.json").read_text())
    image_id = content["images"][0]["id"]
    before = convert(meadow)
    for number, category in ((91, COW), (92, HEN)):
        region = {"id": number, "image_id": image_id, "category_id": category, "bbox": [0, 4, 8, 2], "iscrowd": 1}
        content["annotations"].append({**region, "segmentation": rle(rectangle(slice(4, 6), slice(0, 8))), "ignore": 1})
    (meadow / "instances.json").write_text(json.dumps(content))
    after = convert(meadow)
    ids = read_panoptic_ids(meadow / "out/panoptic" / Path(content["images"][0]["file_name"]).with_suffix(".png"))
    visible = HEN_IN_FRONT.copy()
    visible[4:][visible[4:] == 4] = 0
    assert np.array_equal(ids, visible) and after.segments == before.segments
