"""COCO's instances from labelme's drawings: by hand, and as pycocotools reads them.

The pond is 6 x 10 pixels.
"""

import base64
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from unified_seg.data.conversion.labelme_shapes import Shape, convert_to_polygon, read_shapes
from unified_seg.data.conversion.labelme_to_instances import convert_labelme
from unified_seg.data.datasets.custom import CustomDataset
from unified_seg.data.problems import DataError
from unified_seg.data.validation.checks import check_record

SIZE = (6, 10)


def shape(label: str, kind: str, *points: tuple[float, float], group: int | None = None) -> dict[str, Any]:
    return {"label": label, "points": [list(p) for p in points], "group_id": group, "shape_type": kind, "flags": {}}


def drawn(image: str, *shapes: dict[str, Any]) -> dict[str, Any]:
    head = {"version": "5.5.0", "flags": {}, "shapes": list(shapes)}
    return {**head, "imagePath": image, "imageData": "an image", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}


# Rows 1 and 2, columns 2 to 4.
DUCK = shape("duck", "rectangle", (5, 3), (2, 1))
# Rows 3 and 4, columns 0 and 1, and columns 6 and 7: one reed behind a post.
REED = [shape("reed", "polygon", (x, 3), (x + 2, 3), (x + 2, 5), (x, 5), group=4) for x in (0, 6)]


@pytest.fixture
def pond(tmp_path: Path) -> Path:
    """One drawing beside its image, and one in another folder than its image."""
    for folder in ("drawn/images", "drawn/labels"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a.png", "images/b c.jpg"):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "drawn" / name)
    write(tmp_path, "a.json", drawn("a.png", DUCK, REED[0], DUCK, REED[1]))
    write(tmp_path, "labels/b.json", drawn("..\\images\\b c.jpg", {**DUCK, "group_id": 4}, REED[0]))
    return tmp_path


def write(folder: Path, name: str, content: Any) -> None:
    (folder / "drawn" / name).write_text(json.dumps(content))


def convert(folder: Path, **options: Any) -> Any:
    return convert_labelme(folder / "drawn", folder / "instances.json", **options)


def masks(folder: Path) -> list[tuple[int, int, np.ndarray]]:
    coco = COCO(str(folder / "instances.json"))
    return [(a["image_id"], a["category_id"], coco.annToMask(a)) for a in coco.loadAnns(coco.getAnnIds())]


def test_the_file_is_that_made_by_hand(pond: Path) -> None:
    assert convert(pond) == (2, 5, 0, 2, 0, {})
    content = json.loads((pond / "instances.json").read_text())
    assert content["images"] == [
        {"id": 1, "file_name": "a.png", "height": 6, "width": 10},
        {"id": 2, "file_name": "images/b c.jpg", "height": 6, "width": 10},
    ]
    assert [(c["id"], c["name"]) for c in content["categories"]] == [(1, "duck"), (2, "reed")]
    fields = ("id", "image_id", "category_id", "area", "bbox", "iscrowd")
    # Shapes without a group are instances of their own; so are those of one group and two labels.
    assert [tuple(a[field] for field in fields) for a in content["annotations"]] == [
        (1, 1, 1, 6, [2, 1, 3, 2], 0),
        (2, 1, 2, 8, [0, 3, 8, 2], 0),
        (3, 1, 1, 6, [2, 1, 3, 2], 0),
        (4, 2, 1, 6, [2, 1, 3, 2], 0),
        (5, 2, 2, 4, [0, 3, 2, 2], 0),
    ]
    assert content["annotations"][0]["segmentation"] == [[5, 3, 2, 3, 2, 1, 5, 1]]


def test_pycocotools_reads_the_file(pond: Path) -> None:
    convert(pond)
    duck, reed = np.zeros(SIZE), np.zeros(SIZE)
    duck[1:3, 2:5] = 1
    reed[3:5, [0, 1, 6, 7]] = 1
    first, second = masks(pond)[:2]
    assert np.array_equal(first[2], duck) and np.array_equal(second[2], reed)


def test_a_custom_data_set_reads_the_file(pond: Path) -> None:
    convert(pond)
    dataset = CustomDataset.from_entry({"NAME": "pond", "IMAGES": "drawn", "INSTANCES": "instances.json"}, pond)
    records = dataset.load()
    for record in records:
        check_record(record, dataset.read_table())
    assert [len(record["annotations"]) for record in records] == [3, 2]


def test_classes_of_a_file_are_used(pond: Path) -> None:
    classes = "[{name: water, id: 3}, {name: reed, id: 9, isthing: 1}, {name: duck, id: 5, isthing: 1}]"
    (pond / "classes.yaml").write_text(classes)
    assert convert(pond, classes_file=pond / "classes.yaml").classes == 2
    content = json.loads((pond / "instances.json").read_text())
    assert [(c["id"], c["name"], c["isthing"]) for c in content["categories"]] == [(9, "reed", 1), (5, "duck", 1)]
    assert [a["category_id"] for a in content["annotations"]] == [5, 9, 5, 5, 9]


def test_instances_without_a_pixel_are_left_out(pond: Path) -> None:
    outside, point = shape("duck", "rectangle", (-5, 0), (-1, 3)), shape("eel", "circle", (2.5, 2.5), (2.5, 2.5))
    write(pond, "a.json", drawn("a.png", outside, DUCK, point))
    assert convert(pond) == (2, 3, 2, 3, 0, {})
    assert [a["id"] for a in json.loads((pond / "instances.json").read_text())["annotations"]] == [1, 2, 3]


def test_shapes_without_a_type_are_polygons(pond: Path) -> None:
    write(pond, "a.json", drawn("a.png", {"label": "reed", "points": REED[0]["points"]}))
    assert convert(pond).instances == 3


@pytest.mark.parametrize("radius", [0.1, 1.0, 7.3, 400.0])
def test_circles_are_nearly_round(radius: float) -> None:
    edge = (50 + radius * math.cos(1), 60 + radius * math.sin(1))
    polygon = np.array(convert_to_polygon(Shape("x", [(50, 60), edge], "circle"), (1000, 1000))).reshape(-1, 2) - [
        50,
        60,
    ]
    middles = (polygon + np.roll(polygon, 1, axis=0)) / 2
    assert np.allclose(np.hypot(*polygon.T), radius)
    assert (np.hypot(*middles.T) > radius - 0.251).all()
    assert len(polygon) >= 12


def mask_of(mask: np.ndarray, *points: tuple[float, float]) -> dict[str, Any]:
    """A mask as labelme's AI tools write it: a PNG of 0 and 1 in base64, and two corners of its window."""
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(file, format="PNG")
    return {
        "shape_type": "mask",
        "points": [list(p) for p in points],
        "mask": base64.b64encode(file.getvalue()).decode(),
    }


def first_mask(pond: Path, *shapes: dict[str, Any], **options: Any) -> np.ndarray:
    """The pixels of the first instance of these shapes."""
    write(pond, "a.json", drawn("a.png", *shapes))
    convert(pond, **options)
    return masks(pond)[0][2].astype(bool)


def pixels(*windows: tuple[slice, slice]) -> np.ndarray:
    full = np.zeros(SIZE, dtype=bool)
    for window in windows:
        full[window] = True
    return full


ARROW = np.array([[1, 0, 0], [1, 1, 0]])
# Corners of the window, and what is in the image.
PLACES: dict[str, tuple[list[tuple[float, float]], np.ndarray]] = {
    "inside": ([(4, 2), (6, 3)], pixels((slice(2, 4), slice(4, 5)), (slice(3, 4), slice(5, 6)))),
    "fractions": ([(4.2, 1.9), (6.4, 3.3)], pixels((slice(2, 4), slice(4, 5)), (slice(3, 4), slice(5, 6)))),
    "over the left edge": ([(-1, 2), (1, 3)], pixels((slice(3, 4), slice(0, 1)))),
    "over the lower edge": ([(4, 5), (6, 6)], pixels((slice(5, 6), slice(4, 5)))),
    "cropped to its window": ([(4, 2), (6, 2)], pixels((slice(2, 3), slice(4, 5)))),
}


@pytest.mark.parametrize("name", PLACES)
def test_masks_of_ai_tools_are_placed_at_their_window(name: str, pond: Path) -> None:
    points, expected = PLACES[name]
    assert np.array_equal(first_mask(pond, {"label": "duck", **mask_of(ARROW, *points)}), expected)


def test_masks_and_polygons_of_a_group_are_one_instance(pond: Path) -> None:
    arrow = {"label": "reed", "group_id": 4, **mask_of(ARROW, (4, 2), (6, 3))}
    expected = pixels((slice(3, 5), slice(0, 2)), (slice(3, 5), slice(6, 8)), (slice(2, 4), slice(4, 5)))
    expected[3, 5] = True
    for shapes in ([arrow, *REED], [*REED, arrow], [REED[0], arrow, REED[1]]):
        assert np.array_equal(first_mask(pond, *shapes), expected)
        assert len(masks(pond)) == 1 + 2


POND = shape("pond", "rectangle", (0, 0), (8, 6))
HOLE = shape("_background_", "polygon", (2, 1), (5, 1), (5, 3), (2, 3))


def test_background_is_a_hole_in_the_shapes_before_it(pond: Path) -> None:
    expected = pixels((slice(0, 6), slice(0, 8)))
    expected[1:3, 2:5] = False
    assert np.array_equal(first_mask(pond, POND, HOLE), expected)
    content = json.loads((pond / "instances.json").read_text())
    assert [c["name"] for c in content["categories"]] == ["duck", "pond", "reed"]
    assert (content["annotations"][0]["area"], content["annotations"][0]["bbox"]) == (42, [0, 0, 8, 6])


def test_shapes_after_a_hole_fill_it(pond: Path) -> None:
    """As in labelme, the later shape is on top: an island in the hole, and a hole below everything."""
    assert np.array_equal(first_mask(pond, HOLE, POND), pixels((slice(0, 6), slice(0, 8))))
    first_mask(pond, POND, HOLE, DUCK)
    (_, _, water), (_, _, duck) = masks(pond)[:2]
    assert not (water & duck).any() and np.array_equal(duck.astype(bool), pixels((slice(1, 3), slice(2, 5))))


def test_holes_elsewhere_leave_polygons_as_they_are(pond: Path) -> None:
    first_mask(pond, REED[0], HOLE)
    assert json.loads((pond / "instances.json").read_text())["annotations"][0]["segmentation"] == [
        [0, 3, 2, 3, 2, 5, 0, 5]
    ]


def test_what_is_all_hole_is_left_out(pond: Path) -> None:
    write(pond, "a.json", drawn("a.png", DUCK, HOLE))
    assert convert(pond).hidden == 1


def test_ignored_regions_are_crowds_of_every_class(pond: Path) -> None:
    write(pond, "a.json", drawn("a.png", DUCK, {**POND, "label": "__ignore__"}, {**HOLE, "label": "__ignore__"}))
    assert convert(pond) == (2, 3, 0, 2, 1, {})
    content = json.loads((pond / "instances.json").read_text())
    assert [c["name"] for c in content["categories"]] == ["duck", "reed"]
    crowds = [a for a in content["annotations"] if a["iscrowd"]]
    assert [(a["image_id"], a["category_id"], a["area"], a["ignore"]) for a in crowds] == [(1, 1, 48, 1), (1, 2, 48, 1)]
    assert [a["id"] for a in content["annotations"]] == [1, 2, 3, 4, 5]


def test_shapes_without_area_are_left_out_by_option_and_counted(pond: Path) -> None:
    lines = [
        shape("path", kind, *[(i, i) for i in range(n)]) for kind, n in (("linestrip", 3), ("line", 2), ("point", 1))
    ]
    write(pond, "a.json", drawn("a.png", DUCK, *lines, lines[0], shape("path", "polygon", (0, 0), (1, 1))))
    summary = convert(pond, skip_shapes=True)
    assert (summary.instances, summary.classes) == (3, 2)
    assert summary.skipped == {"linestrip": 2, "line": 1, "point": 1, "polygon": 1}


def test_turned_rectangles_are_polygons(pond: Path) -> None:
    turned = shape("duck", "oriented_rectangle", (2, 1), (5, 1), (5, 3), (2, 3))
    assert np.array_equal(first_mask(pond, turned), pixels((slice(1, 3), slice(2, 5))))


def test_sizes_are_those_of_the_image_if_the_file_lacks_them(pond: Path) -> None:
    write(pond, "a.json", {**drawn("a.png", DUCK), "imageHeight": None, "imageWidth": None, "imageData": None})
    assert convert(pond).images == 2


def test_images_may_be_in_another_folder_than_the_drawings(pond: Path) -> None:
    """labelme --output labels writes ../images/a.png."""
    with pytest.raises(DataError, match=r"imagePath: .*leads out of.*--images"):
        convert_labelme(pond / "drawn/labels", pond / "instances.json")
    convert_labelme(pond / "drawn/labels", pond / "instances.json", image_root=pond / "drawn/images")
    assert json.loads((pond / "instances.json").read_text())["images"][0]["file_name"] == "b c.jpg"


def changed(**values: Any) -> Callable[[Path], None]:
    return lambda folder: write(folder, "a.json", {**drawn("a.png", DUCK), **values})


def with_shape(**values: Any) -> Callable[[Path], None]:
    return lambda folder: write(folder, "a.json", drawn("a.png", DUCK, {**DUCK, **values}))


def no_drawing(folder: Path) -> None:
    for path in (folder / "drawn").rglob("*.json"):
        path.unlink()


CORNERS = [[1, 1], [4, 1], [4, 3], [1, 3]]


@pytest.mark.parametrize("kind", ["rectangle", "rotation", "oriented_rectangle"])
def test_rectangles_may_have_all_corners(kind: str) -> None:
    found = read_shapes(Path("a.json"), [{"label": "reed", "points": CORNERS, "shape_type": kind}], (6, 10))
    assert found.instances[0].segmentation == [[1, 1, 4, 1, 4, 3, 1, 3]]


def test_plain_values_are_told_once_for_the_folder(pond: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, group in (("a.json", "3"), ("b.json", 3.0)):
        (file,) = (pond / "drawn").rglob(name)
        content = json.loads(file.read_text())
        for shape in content["shapes"]:
            shape["group_id"] = group
        file.write_text(json.dumps({**content, "imageHeight": float(content["imageHeight"])}))
    convert(pond)
    notes = [record.message for record in caplog.records if "read as a whole number" in record.message]
    assert len(notes) == 3 and any("imageHeight is float" in note and "2 records" in note for note in notes)
    assert all(str(pond / "drawn") in note and ".json" in note for note in notes)


def test_drawings_without_a_class_need_a_file_of_classes(pond: Path) -> None:
    for file in (pond / "drawn").rglob("*.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "shapes": [{**DUCK, "label": "__ignore__"}]}))
    with pytest.raises(DataError, match=r"drawn: no shape in it has a class; --classes"):
        convert(pond)
    (pond / "classes.yaml").write_text("[{name: duck, isthing: 1}]")
    assert convert(pond, classes_file=pond / "classes.yaml").ignored == 2


LINE = [[0, 0], [3, 3]]
BAD = {
    "no JSON": (lambda f: (f / "drawn/a.json").write_text("["), r"a\.json: not readable as JSON"),
    "a list": (lambda f: write(f, "a.json", []), r"a\.json: expected an object"),
    "nothing": (no_drawing, r"drawn: no \.json file in it"),
    "another JSON": (lambda f: write(f, "x.json", {"images": []}), r"x\.json: imagePath is missing"),
    "no size and no image": (changed(imageHeight=None, imagePath="gone.png"), r"gone\.png: there is no such file"),
    "no mask": (with_shape(shape_type="mask"), "record 1: a mask must have a PNG in base64 as mask, got None"),
    "no PNG": (with_shape(shape_type="mask", mask="a"), "record 1: mask is no readable PNG"),
    "a small mask": (with_shape(**mask_of(np.ones((2, 2)), (0, 0), (2, 2))), "2x2 pixels, its points span 3x3"),
    "a huge mask": (with_shape(**mask_of(np.ones((99, 99)), (0, 0), (98, 98))), "99x99 pixels, far more than"),
    "a line of no area": (with_shape(shape_type="linestrip"), "linestrip.*--skip-shapes"),
    "an unknown type": (with_shape(shape_type="cuboid"), "'cuboid'.*--skip-shapes"),
    "no shapes": (changed(shapes=None), r"a\.json: expected a list of shapes records"),
    "huge": (changed(imageHeight=10**9), r"a\.json: 1000000000x10 pixels, more than"),
    "empty": (changed(imageWidth=0), r"a\.json: height and width must be at least 1, got 6x0"),
    "another size": (changed(imageHeight=10, imageWidth=6), r"a\.json: 10x6 pixels, its image .*a\.png has 6x10"),
    "above": (changed(imagePath="../../a.png"), r"a\.json: imagePath: .* leads out of"),
    "from the root": (changed(imagePath="/etc/a.png"), r"a\.json: imagePath: .* leads out of"),
    "no file's name": (changed(imagePath="a\0.png"), r"a\.json: imagePath: .* names no file"),
    "one image": (changed(imagePath="images/b c.jpg"), r"b\.json: its image images/b c\.jpg is also that of .*a\.json"),
    "a line": (with_shape(shape_type="line"), r"a\.json: shapes record 1: shape_type must be .*, got 'line'.*--skip"),
    "two corners": (with_shape(shape_type="polygon", points=LINE), "record 1: a polygon must have at least 3 points"),
    "three points": (with_shape(points=[*LINE, [4, 4]]), "record 1: a rectangle must have 2 or 4 points, got 3"),
    "one point": (with_shape(shape_type="circle", points=LINE[:1]), "record 1: a circle must have 2 points, got 1"),
    "no points": (with_shape(points=None), "record 1: points must be array, got None"),
    "a point in space": (with_shape(points=[[1, 2, 3], [4, 5, 6]]), r"points\[0\] must be array of length 2, got \["),
    "no number": (with_shape(points=[[1, 2], [True, 5]]), r"points\[1\]\[0\] must be float, got True"),
    "NaN": (with_shape(points=[[1, 2], [math.nan, 5]]), r"the point \[nan, 5\.0\] is far outside"),
    "far": (with_shape(shape_type="circle", points=[[1, 2], [1e300, 5]]), r"the point \[1e\+300, 5\.0\] is far"),
    "no label": (with_shape(label=None), "record 1: label must be str, got None"),
    "a group's name": (with_shape(group_id="x"), "record 1: group_id must be int or null, got 'x'"),
    "none drawn": (lambda f: [write(f, n, drawn(i)) for n, i in (("a.json", "a"), ("labels/b.json", "b"))], "no shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error(pond: Path, name: str) -> None:
    change, message = BAD[name]
    change(pond)
    with pytest.raises(DataError, match=message):
        convert(pond)
    assert not (pond / "instances.json").exists()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("[{name: duck, isthing: 1}]", r"a\.json: shapes record 1: unknown label 'reed', .*classes\.yaml"),
        ("[duck, {name: reed, isthing: 1}]", r"a\.json: shapes record 0: label 'duck' is stuff in .*classes\.yaml"),
    ],
)
def test_labels_must_be_things(pond: Path, classes: str, message: str) -> None:
    (pond / "classes.yaml").write_text(classes)
    with pytest.raises(DataError, match=message):
        convert(pond, classes_file=pond / "classes.yaml")


def test_links_of_the_user_are_followed(pond: Path) -> None:
    before = convert(pond)
    (pond / "drawn/a.png").rename(pond / "a.png")
    (pond / "drawn/a.png").symlink_to(pond / "a.png")
    assert convert(pond) == before


def test_outputs_in_inputs_are_refused(pond: Path) -> None:
    with pytest.raises(DataError, match="the output must not overlap with the input"):
        convert_labelme(pond / "drawn", pond / "drawn/instances.json")
