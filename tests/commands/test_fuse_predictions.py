"""tools/fuse_predictions.py on two hand-drawn images, whose fusion is derived here.

Image 1 is 8 x 16 pixels: sky over road, with two vehicles in the rows 2 to 5: a car in the columns 2 to 7 and a truck
in the columns 10 to 13. The detector gave the left half of the car (columns 2 to 4, score 0.9), the same again (0.8),
and half of the truck at score 0.3. So of 128 pixels the car has 24, the truck 16, the sky above them 64 - 20 = 44 and
the road 44. Image 2 is a road without anything.
"""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from panopticapi.evaluation import pq_compute
from PIL import Image
from pycocotools import mask as mask_util
from pycocotools.coco import COCO

from unified_seg.data.coco.categories import read_categories
from unified_seg.data.io.label_files import read_label, read_panoptic_ids
from unified_seg.fusion.semantic_guided import SemanticGuidedOptions, fuse_semantic_guided
from unified_seg.structures.box_masks import BoxMasks
from unified_seg_cli.commands.fuse_predictions import main

pytestmark = pytest.mark.end_to_end

SIZE = (8, 16)
SKY, ROAD, CAR, TRUCK = 23, 7, 26, 27  # ids in the files; in this order the semantic ids 0 to 3
CATEGORIES = [
    {"id": SKY, "name": "sky", "isthing": 0, "color": [70, 130, 180], "supercategory": "sky"},
    {"id": ROAD, "name": "road", "isthing": 0, "color": [128, 64, 128], "supercategory": "flat"},
    {"id": CAR, "name": "car", "isthing": 1, "color": [0, 0, 142], "supercategory": "vehicle"},
    {"id": TRUCK, "name": "truck", "isthing": 1, "color": [0, 0, 70], "supercategory": "vehicle"},
]
VEHICLE_ROWS = slice(2, 6)
CAR_COLUMNS, TRUCK_COLUMNS = slice(2, 8), slice(10, 14)


def street() -> np.ndarray:
    labels = np.full(SIZE, SKY, np.uint8)
    labels[4:] = ROAD
    labels[VEHICLE_ROWS, CAR_COLUMNS], labels[VEHICLE_ROWS, TRUCK_COLUMNS] = CAR, TRUCK
    return labels


def mask_of(rows: slice, columns: slice, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, np.uint8, order="F")
    mask[rows, columns] = 1
    return mask


def rle_of(mask: np.ndarray, compressed: bool = True) -> dict[str, Any]:
    if compressed:
        rle = mask_util.encode(np.asfortranarray(mask))
        return {"size": rle["size"], "counts": rle["counts"].decode()}
    flat = np.concatenate([[2], mask.ravel(order="F"), [2]])
    counts = np.diff(np.flatnonzero(np.diff(flat)), prepend=0)[1:].tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if mask.flat[0] else counts}


def detection(rows: slice, columns: slice, category: int, score: float, image_id: Any = 1) -> dict[str, Any]:
    rle = rle_of(mask_of(rows, columns))
    return {"image_id": image_id, "category_id": category, "segmentation": rle, "score": score}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """What to write before `fuse`: JSON contents by file name, and PNGs by name below semantic/."""
    images = [
        {"id": 1, "file_name": "a/one.jpg", "height": 8, "width": 16},
        {"id": 2, "file_name": "a/two.jpg", "height": 8, "width": 16},
    ]
    instances = [
        detection(VEHICLE_ROWS, slice(2, 5), CAR, 0.9),
        detection(VEHICLE_ROWS, slice(2, 5), CAR, 0.8),
        detection(VEHICLE_ROWS, slice(10, 12), TRUCK, 0.3),
    ]
    return {
        "images.json": {"images": images},
        "instances.json": instances,
        "categories.json": copy.deepcopy(CATEGORIES),
        "png": {"a/one.png": street(), "a/two.png": np.full(SIZE, ROAD, np.uint8)},
    }


@pytest.fixture
def fuse(files, tmp_path):
    """Writes the files and runs the tool; returns panoptic.json."""

    def run(*arguments: object, classes: tuple[object, ...] = ()) -> dict[str, Any]:
        for name, labels in files["png"].items():
            (tmp_path / "semantic" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(labels).save(tmp_path / "semantic" / name)
        for name in ("images.json", "instances.json", "categories.json"):
            text = files[name] if isinstance(files[name], str) else json.dumps(files[name])
            (tmp_path / name).write_text(text)
        given = {"--instances": "instances.json", "--semantic": "semantic", "--images": "images.json"}
        words = [word for key, name in given.items() for word in (key, tmp_path / name)]
        words += classes or ["--categories", tmp_path / "categories.json"]
        main([str(word) for word in [*words, "--output", tmp_path / "out", *arguments]])
        return json.loads((tmp_path / "out" / "panoptic.json").read_text())

    return run


def segments_of(result: dict[str, Any], index: int = 0) -> list[tuple[int, int]]:
    return [(s["category_id"], s["area"]) for s in result["annotations"][index]["segments_info"]]


def test_the_guided_fusion_by_hand(fuse, tmp_path):
    result = fuse()
    # The car grows to its whole region and its double finds nothing free; the truck, whose score is too low, is found.
    assert sorted(segments_of(result)) == sorted([(CAR, 24), (TRUCK, 16), (SKY, 44), (ROAD, 44)])
    assert segments_of(result, 1) == [(ROAD, 128)]
    assert [a["file_name"] for a in result["annotations"]] == ["a/one.png", "a/two.png"]
    ids = read_panoptic_ids(tmp_path / "out" / "panoptic" / "a" / "one.png")
    category = {s["id"]: s["category_id"] for s in result["annotations"][0]["segments_info"]}
    assert np.array_equal(np.vectorize(category.get)(ids), street())
    assert result["categories"] == [{k: v for k, v in c.items() if k != "supercategory"} for c in CATEGORIES]


def test_the_limit_of_pixels_is_that_of_the_option(fuse):
    with pytest.raises(SystemExit, match=r"images record 0: .*more than the limit of 127"):
        fuse("--max-pixels", "127")
    assert fuse("--max-pixels", "128")


def test_the_score_order_merge_by_hand(fuse):
    # The car keeps what the detector gave: 12 pixels. The rest of both vehicles, 12 + 16 pixels, is void.
    assert sorted(segments_of(fuse("--method", "score-order"))) == sorted([(CAR, 12), (SKY, 44), (ROAD, 44)])


@pytest.mark.parametrize(("method", "expected"), [("semantic-guided", 1.0), ("score-order", 0.5)])
def test_panopticapi_scores_the_files(fuse, tmp_path, method, expected):
    fuse("--method", method)
    ids = street().astype(int)
    ground_truth = tmp_path / "ground_truth"
    (ground_truth / "a").mkdir(parents=True)
    for name, labels in (("one", ids), ("two", np.full(SIZE, ROAD))):
        Image.fromarray(np.stack([labels, 0 * labels, 0 * labels], axis=-1).astype(np.uint8)).save(
            ground_truth / f"a/{name}.png"
        )
    annotations = [
        {
            "image_id": image_id,
            "file_name": f"a/{name}.png",
            "segments_info": [
                {"id": int(i), "category_id": int(i), "area": int((labels == i).sum()), "iscrowd": 0}
                for i in np.unique(labels)
            ],
        }
        for image_id, name, labels in ((1, "one", ids), (2, "two", np.full(SIZE, ROAD)))
    ]
    (tmp_path / "ground_truth.json").write_text(json.dumps({"annotations": annotations, "categories": CATEGORIES}))
    scores = pq_compute(str(tmp_path / "ground_truth.json"), str(tmp_path / "out" / "panoptic.json"))
    # In score order the car has half of its pixels, IoU 12/24, which is no match, and there is no truck: only sky and
    # road, which are exact, count.
    assert scores["All"]["pq"] == pytest.approx(expected)
    assert scores["Stuff"]["pq"] == pytest.approx(1.0)


def test_classes_of_a_supercategory_exchange_pixels_on_request(fuse, files):
    # The right half of the car is labeled truck.
    files["png"]["a/one.png"][VEHICLE_ROWS, 5:8] = TRUCK
    apart = segments_of(fuse())
    assert (CAR, 12) in apart and (TRUCK, 12) in apart and (TRUCK, 16) in apart
    alike = segments_of(fuse("--use-supercategories"))
    assert (CAR, 24) in alike and (TRUCK, 12) not in alike


def test_refined_semantic_maps(fuse, files, tmp_path):
    files["png"]["a/one.png"][VEHICLE_ROWS, 5:8] = TRUCK
    files["png"]["a/one.png"][0, 0] = 255
    fuse("--use-supercategories", "--refined-semantic", tmp_path / "refined")
    expected = street()
    expected[0, 0] = 255
    assert np.array_equal(read_label(tmp_path / "refined" / "a" / "one.png"), expected)


def test_refined_instances(fuse, files, tmp_path):
    given = copy.deepcopy(files["instances.json"])
    for record in files["instances.json"]:
        record["bbox"] = [0, 0, 1, 1]
    fuse("--refined-instances", tmp_path / "refined" / "instances.json")
    first, second, third, found = json.loads((tmp_path / "refined" / "instances.json").read_text())
    assert np.array_equal(mask_util.decode(first["segmentation"]), mask_of(VEHICLE_ROWS, CAR_COLUMNS))
    assert first["score"] == 0.9
    # What the fusion did not keep stays as it was given, but for the box.
    assert [second, third] == given[1:]
    assert np.array_equal(mask_util.decode(found["segmentation"]), mask_of(VEHICLE_ROWS, TRUCK_COLUMNS))
    assert (found["image_id"], found["category_id"], found["score"], found["found"]) == (1, TRUCK, 0.0, True)
    ground_truth = COCO()
    ground_truth.dataset = {**files["images.json"], "categories": CATEGORIES, "annotations": []}
    ground_truth.createIndex()
    loaded = ground_truth.loadRes(str(tmp_path / "refined" / "instances.json"))
    assert [(a["area"], list(a["bbox"])) for a in loaded.loadAnns([1, 4])] == [(24, [2, 2, 6, 4]), (16, [10, 2, 4, 4])]


def test_values_that_json_lacks_are_refused(fuse, files, tmp_path):
    files["instances.json"][0]["note"] = float("nan")
    with pytest.raises(SystemExit, match=r"DataError: .*refined\.json: can't be written: .*JSON compliant"):
        fuse("--refined-instances", tmp_path / "refined.json")
    assert not (tmp_path / "refined.json").exists()


@pytest.mark.parametrize("void", [255, 0])
def test_void_of_dataset_ids(fuse, files, void):
    files["png"]["a/two.png"][:, :4] = void
    assert segments_of(fuse(), 1) == [(ROAD, 96)]


def test_contiguous_ids(fuse, files, tmp_path):
    contiguous = np.full(256, 255, np.uint8)
    contiguous[[SKY, ROAD, CAR, TRUCK]] = range(4)
    files["png"] = {name: contiguous[labels] for name, labels in files["png"].items()}
    files["png"]["a/two.png"][0] = 255
    result = fuse("--semantic-ids", "contiguous", "--refined-semantic", tmp_path / "refined")
    assert sorted(segments_of(result)) == sorted([(CAR, 24), (TRUCK, 16), (SKY, 44), (ROAD, 44)])
    assert segments_of(result, 1) == [(ROAD, 112)]
    assert np.array_equal(read_label(tmp_path / "refined" / "a" / "two.png"), files["png"]["a/two.png"])


def test_ids_that_need_two_bytes(fuse, files, tmp_path):
    files["categories.json"] = [{**c, "id": c["id"] + 1000} for c in CATEGORIES]
    files["png"] = {name: labels.astype(np.uint16) + 1000 for name, labels in files["png"].items()}
    files["instances.json"] = [{**d, "category_id": d["category_id"] + 1000} for d in files["instances.json"]]
    result = fuse("--refined-semantic", tmp_path / "refined")
    assert (CAR + 1000, 24) in segments_of(result)
    assert np.array_equal(read_label(tmp_path / "refined" / "a" / "one.png"), files["png"]["a/one.png"])


def test_a_registered_data_set(fuse):
    # Cityscapes' label ids are those of this file, but its cars and trucks are vehicles: nothing else differs here.
    result = fuse(classes=("--dataset", "unified_cityscapes_val"))
    assert sorted(segments_of(result)) == sorted([(CAR, 24), (TRUCK, 16), (SKY, 44), (ROAD, 44)])
    assert len(result["categories"]) == 19


def test_categories_under_a_key_and_without_colors(fuse, files):
    files["categories.json"] = {"categories": [{k: c[k] for k in ("id", "name", "isthing")} for c in CATEGORIES]}
    assert len({tuple(c["color"]) for c in fuse()["categories"]}) == 4


def test_thresholds_are_read(fuse):
    # The half truck of score 0.3 is in, and 12 of the car's pixels are free for its double at an overlap of 1 only.
    assert (TRUCK, 8) in segments_of(fuse("--method", "score-order", "--score-threshold", "0.2"))
    # Of 128 pixels the sky has 0.34, the found truck 0.125.
    assert SKY not in dict(segments_of(fuse("--min-stuff-area", "0.35")))
    assert TRUCK not in dict(segments_of(fuse("--min-segment-area", "0.13")))


def test_flat_folders(fuse, files):
    files["png"] = {name.removeprefix("a/"): labels for name, labels in files["png"].items()}
    assert (CAR, 24) in segments_of(fuse())


def test_an_ambiguous_flat_name_is_refused(fuse, files):
    files["images.json"]["images"][1]["file_name"] = "b/one.jpg"
    files["png"]["one.png"] = street()
    with pytest.raises(SystemExit, match=r"b/one\.png: there is no such file"):
        fuse()


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_files_are_the_results_of_the_function(tmp_path, data):
    """Random labels and boxes: PNG, JSON and refined files are `fuse_semantic_guided`'s result, id for id."""
    labels = np.array(data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 255]), min_size=24, max_size=24))).reshape(4, 6)
    boxes = data.draw(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(1, 2), st.integers(1, 2), st.booleans()),
            max_size=4,
        )
    )
    masks = [mask_of(slice(y, y + h), slice(x, x + w), (4, 6)) for y, x, h, w, _ in boxes]
    things = [int(truck) for *_, truck in boxes]
    scores = [data.draw(st.sampled_from([0.4, 0.6, 0.6, 0.9])) for _ in boxes]
    records = [
        {"image_id": "x", "category_id": (CAR, TRUCK)[t], "score": s, "segmentation": rle_of(m, compressed=i % 2 == 0)}
        for i, (m, t, s) in enumerate(zip(masks, things, scores))
    ]
    (tmp_path / "semantic").mkdir(exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "semantic" / "x.png")
    images = {"images": [{"id": "x", "file_name": "x.jpg", "height": 4, "width": 6}]}
    for name, content in (("images", images), ("instances", records), ("categories", CATEGORIES)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    words = [
        f"--instances={tmp_path}/instances.json",
        f"--semantic={tmp_path}/semantic",
        f"--images={tmp_path}/images.json",
    ]
    words += [f"--categories={tmp_path}/categories.json", f"--output={tmp_path}/out", "--semantic-ids=contiguous"]
    words += [f"--refined-semantic={tmp_path}/refined", f"--refined-instances={tmp_path}/refined.json"]
    main([*words, "--use-supercategories", "--min-segment-area", "0.1", "--min-stuff-area", "0.1"])

    full = torch.from_numpy(np.stack(masks) if masks else np.zeros((0, 4, 6), np.uint8)).bool()
    expected = fuse_semantic_guided(
        torch.from_numpy(labels),
        BoxMasks.from_full(full),
        torch.tensor(things, dtype=torch.int64),
        torch.tensor(scores, dtype=torch.float64),
        read_categories(tmp_path / "categories.json", use_supercategories=True),
        SemanticGuidedOptions(min_segment_area=0.1, min_stuff_area=0.1),
    )
    ids = read_panoptic_ids(tmp_path / "out" / "panoptic" / "x.png")
    assert np.array_equal(ids, expected.panoptic.ids.numpy())
    assert np.array_equal(read_label(tmp_path / "refined" / "x.png"), expected.labels.numpy())
    refined = json.loads((tmp_path / "refined.json").read_text())
    decoded = [mask_util.decode(r["segmentation"] if i % 2 == 0 or i >= len(records) or expected.kept[i]
                                else rle_of(masks[i])) for i, r in enumerate(refined)]  # fmt: skip
    assert np.array_equal(np.array(decoded).reshape(-1, 4, 6), expected.masks.full().numpy())
    assert [r["score"] for r in refined] == expected.scores.tolist()


def change(path: str, value: Any):
    """Sets what a path such as "instances.json/0/score" names to a value; a callable gets the old one."""

    def apply(files: dict[str, Any]) -> None:
        *parents, last = [int(p) if p.isdigit() else p for p in path.replace("png/", "png|").split("/")]
        if path.startswith("png/"):
            parents, last = ["png"], path.removeprefix("png/")
        node = files
        for parent in parents:
            node = node[parent]
        node[last] = value(node[last]) if callable(value) else value

    return apply


BAD = {
    "not JSON": (change("instances.json", "[1, 2"), r"instances\.json: not readable as JSON"),
    "results in an object": (change("instances.json", {"annotations": []}), r"instances\.json: expected a list"),
    "record that is no object": (change("instances.json/1", 5), r"instances\.json: record 1 must be an object, got 5"),
    "unknown image": (change("instances.json/2/image_id", 77), r"instances\.json: record 2: its image id 77 is not"),
    "image id of another type": (change("instances.json/0/image_id", [1]), r"record 0: image_id must be int or str"),
    "unknown class": (change("instances.json/0/category_id", 5), r"record 0 \(image 1\): unknown category_id 5"),
    "stuff": (change("instances.json/0/category_id", ROAD), r"record 0 \(image 1\): category_id 7 is road, which"),
    "NaN score": (change("instances.json/1/score", float("nan")), r"record 1: score must be finite float, got nan"),
    "huge score": (change("instances.json/1/score", 10**400), r"record 1: score must be valid .*, got 1000"),
    "no score": (change("instances.json/1/score", None), r"record 1: score must be float, got None"),
    "no mask": (change("instances.json/0/segmentation", None), r"record 0 \(image 1\): segmentation: a mask must be"),
    "mask of another size": (change("instances.json/0/segmentation/size", [16, 8]), r"record 0 \(image 1\)"),
    "mask with its counts cut": (
        change("instances.json/0/segmentation", {"size": [8, 16], "counts": "1"}), r"record 0 \(image 1\)"
    ),
    "mask of a detection that stays out": (
        change("instances.json/2/segmentation", {"size": [8, 16], "counts": "1"}), r"record 2 \(image 1\)"
    ),
    "absent PNG": (lambda files: files["png"].pop("a/two.png"), r"a/two\.png: there is no such file.* image 2"),
    "PNG of another size": (change("png/a/two.png", np.zeros((8, 15), np.uint8)), r"two\.png: 8x15 pixels"),
    "PNG of colors": (change("png/a/two.png", np.zeros((8, 16, 3), np.uint8)), r"two\.png: a label map has one"),
    "PNG with unknown ids": (change("png/a/two.png", np.full(SIZE, 9, np.uint8)), r"two\.png: the values \[9\]"),
    "PNG with ids above all": (change("png/a/two.png", np.full(SIZE, 999, np.uint16)), r"two\.png: the values \[999\]"),
    "no images": (change("images.json/images", []), r"images\.json: no image"),
    "images without the key": (change("images.json", []), r"images\.json: expected an object with lists"),
    "one id twice": (change("images.json/images/1/id", 1), r"images\.json: images record 1: the image id 1 is"),
    "one name twice": (change("images.json/images/1/file_name", "a/one.png"), r"json: a/one\.png and a/one\.jpg"),
    "no name": (change("images.json/images/1/file_name", ""), r"images\.json: file_name '' names no file"),
    "a name with a null": (change("images.json/images/1/file_name", "a\0b"), r"image 2: its file_name .*no file"),
    "a name that leads out": (change("images.json/images/1/file_name", "../out.jpg"), r"image 2: .*leads out of"),
    "an absolute name": (change("images.json/images/1/file_name", "/out.jpg"), r"image 2: .*leads out of"),
    "a size of letters": (change("images.json/images/1/height", "8px"), r"record 1: height must be int, got '8px'"),
    "two classes of one id": (change("categories.json/1/id", SKY), r"categories\.json: dataset ids must be unique"),
    "class id that is true": (change("categories.json/1/id", True), r"categories\.json: record 1: id must be int"),
    "class id below 0": (change("categories.json/1/id", -1), r"ids must be in \[0, 65535\], got -1 to 27"),
    "no class": (change("categories.json", []), r"categories\.json: a class table needs at least one class"),
    "other ids than in the PNGs": (
        lambda files: [c.update(id=i) for c, i in zip(files["categories.json"], (0, 255, 26, 27))],
        r"one\.png: the values \[7, 23\] are neither a class nor void",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(fuse, files, name, tmp_path):
    spoil, message = BAD[name]
    spoil(files)
    with pytest.raises(SystemExit, match=message) as error:
        fuse()
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "panoptic.json").exists()


def test_a_link_out_of_the_folder_is_not_followed(fuse, files, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "panoptic").mkdir(parents=True)
    (tmp_path / "out" / "panoptic" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SystemExit, match=r"image 1: .*leads out of"):
        fuse()
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("--refined-semantic", "{}/semantic", "semantic is named twice"),
        ("--refined-semantic", "{}/out/panoptic", "panoptic is named twice"),
        ("--refined-instances", "{}/instances.json", "instances.json is named twice"),
        ("--refined-instances", "{}/out/panoptic.json", "panoptic.json is named twice"),
        ("--overlap-threshold", "1.5", "argument --overlap-threshold: "),
        ("--score-threshold", "nan", "argument --score-threshold: "),
    ],
)
def test_wrong_arguments_are_refused(fuse, files, tmp_path, capsys, argument, value, message):
    with pytest.raises(SystemExit):
        fuse(argument, value.format(tmp_path))
    assert message in capsys.readouterr().err
    assert json.loads((tmp_path / "instances.json").read_text()) == files["instances.json"]


@pytest.mark.parametrize("refined", ["--refined-semantic", "--refined-instances"])
def test_refined_outputs_need_the_guided_fusion(fuse, tmp_path, capsys, refined):
    with pytest.raises(SystemExit):
        fuse("--method", "score-order", refined, tmp_path / "refined")
    assert "--method semantic-guided" in capsys.readouterr().err


def test_supercategories_need_categories(fuse, capsys):
    with pytest.raises(SystemExit):
        fuse("--use-supercategories", classes=("--dataset", "unified_cityscapes_val"))
    assert "--use-supercategories needs --categories" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="--dataset no_such_set: no such data set"):
        fuse(classes=("--dataset", "no_such_set"))


def test_evidence_without_confidences_says_that_all_is_certain(fuse, caplog):
    result = fuse("--method", "evidence")
    # As certain masks and labels of single pixels: the car keeps its 12 pixels and grows by up to 6 columns, so that it
    # has all 24 of its label. The truck is found.
    assert sorted(segments_of(result)) == sorted([(CAR, 24), (TRUCK, 16), (SKY, 44), (ROAD, 44)])
    assert "no --confidences" in caplog.text and "3 of 3 instances have no soft_mask" in caplog.text


@pytest.mark.parametrize("as_probabilities", [False, True])
def test_evidence_weighs_confidences_and_soft_masks(fuse, files, tmp_path, caplog, as_probabilities):
    """The right half of the car is labeled road; a soft mask of the whole car outvotes it where the road is unsure."""
    labels = files["png"]["a/one.png"]
    labels[VEHICLE_ROWS, 5:8] = ROAD
    car = files["instances.json"][0]
    car["soft_mask"], car["bbox"] = [[0.9] * 6] * 4, [2, 2, 6, 4]
    folder = tmp_path / "confidences/a"
    folder.mkdir(parents=True)
    # Masks and map with cells of a pixel: the mask's 2.2 against half of the road's log-odds, 0.4 at 0.6, 6.2 at 0.999.
    for name, png in files["png"].items():
        sure = np.full(SIZE, 0.98)
        if name == "a/one.png":
            sure[VEHICLE_ROWS, 5] = 0.6
            sure[VEHICLE_ROWS, 6:8] = 0.999
        if as_probabilities:
            semantic = np.select([png == SKY, png == ROAD, png == CAR], [0, 1, 2], 3)
            probabilities = np.repeat(((1 - sure) / 3)[None], 4, axis=0)
            np.put_along_axis(probabilities, semantic[None], sure[None], axis=0)
            np.save(folder.parent / name.replace(".png", ".npy"), probabilities.astype(np.float16))
        else:
            Image.fromarray((sure * 256).clip(0, 255).astype(np.uint8)).save(folder.parent / name)
    result = fuse("--method", "evidence", "--confidences", folder.parent, "--stride", "1")
    # Pixel column 5 joins the car; columns 6 and 7, at which the road is sure, do not.
    assert (CAR, 16) in segments_of(result)
    assert "2 of 3 instances" in caplog.text and "no --confidences" not in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"soft_mask": [[0.9, 2.0]], "bbox": [2, 2, 6, 4]}, "soft_mask"),
        ({"soft_mask": [[0.9], [0.9, 0.9]], "bbox": [2, 2, 6, 4]}, "soft_mask"),
        ({"soft_mask": "none", "bbox": [2, 2, 6, 4]}, "soft_mask"),
        ({"soft_mask": [[0.9]]}, "bbox"),
        ({"soft_mask": [[0.9]], "bbox": [2, 2, 0, 4]}, "bbox"),
    ],
)
def test_invalid_soft_masks_name_the_record(fuse, files, change, message):
    files["instances.json"][0].update(change)
    with pytest.raises(SystemExit, match=message) as error:
        fuse("--method", "evidence")
    assert "instances.json" in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((3, 8, 16), np.float32), "4 classes"),
        (np.full((4, 8, 16), 7.0, np.float32), "logits"),
        (np.ones((4, 9, 16), np.float32), "9x16"),
        (np.array([{}], dtype=object), "not a .npy file"),
        (None, "no one.npy"),
    ],
)
def test_invalid_probabilities_name_the_file(fuse, tmp_path, values, message):
    (tmp_path / "confidences/a").mkdir(parents=True)
    if values is not None:
        np.save(tmp_path / "confidences/a/one.npy", values, allow_pickle=True)
    with pytest.raises(SystemExit, match=re.escape(message)) as error:
        fuse("--method", "evidence", "--confidences", tmp_path / "confidences")
    assert "confidences" in str(error.value)
