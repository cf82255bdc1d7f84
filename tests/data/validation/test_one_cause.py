"""A cause is one error: what follows from an error that is reported is no further one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edited_json import edit, write
from PIL import Image

from unified_seg.data.datasets.custom import register_custom
from unified_seg.data.validation.survey import survey_datasets

pytestmark = pytest.mark.usefixtures("forget_datasets")

SIZE = (8, 12)
CATEGORIES = [{"id": 1, "name": "grass", "isthing": 0}, {"id": 2, "name": "hen", "isthing": 1}]
PANOPTIC, INSTANCES = {"PANOPTIC": "panoptic.json"}, {"INSTANCES": "instances.json"}
SEMANTIC = {"SEMANTIC": "semantic", "CLASSES": "classes.json"}


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """Three images of two hens on grass, with all ground truths."""
    for folder in ("images", "panoptic", "semantic"):
        (tmp_path / folder).mkdir()
    images, annotations, segments = [], [], []
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{index}.png")
        ids = np.ones(SIZE, dtype=np.uint8)
        for number, left in ((2, 1), (3, 7)):
            ids[2:5, left : left + 4] = number
            mask = [[left, 2, left + 4, 2, left + 4, 5, left, 5]]
            hen = {"id": len(annotations), "image_id": index, "category_id": 2, "bbox": [left, 2, 4, 3]}
            annotations.append({**hen, "segmentation": mask})
        Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], axis=-1)).save(tmp_path / f"panoptic/{index}.png")
        Image.fromarray(np.minimum(ids, 2)).save(tmp_path / f"semantic/{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "height": SIZE[0], "width": SIZE[1]})
        infos = [{"id": i, "category_id": min(i, 2), "iscrowd": 0} for i in (1, 2, 3)]
        segments.append({"image_id": index, "file_name": f"{index}.png", "segments_info": infos})
    head = {"images": images, "categories": CATEGORIES}
    write(tmp_path / "panoptic.json", {**head, "annotations": segments})
    write(tmp_path / "instances.json", {**head, "annotations": annotations})
    write(tmp_path / "classes.json", CATEGORIES)
    return tmp_path


def image(yard: Path, file: str, **change: Any) -> None:
    edit(yard / file, lambda c: c["images"][0].update(change))


def without(yard: Path, file: str, path: str) -> None:
    """Remove a key or list entry at a path such as images.0.id."""

    def remove(content: Any) -> None:
        *keys, last = (int(key) if key.isdecimal() else key for key in path.split("."))
        for key in keys:
            content = content[key]
        del content[last]

    edit(yard / file, remove)


def resize(yard: Path) -> None:
    with Image.open(yard / "images/0.png") as file:
        smaller = file.resize((6, 4))
    smaller.save(yard / "images/0.png")


def forget_classes(content: dict[str, Any]) -> None:
    for segment in content["annotations"][0]["segments_info"]:
        segment["category_id"] = 9


def keep_one_mask_of_two_points(content: dict[str, Any]) -> None:
    del content["annotations"][1:]
    content["annotations"][0]["segmentation"] = [[1, 1, 2, 2]]


BOTH = {**PANOPTIC, **INSTANCES}
# what is wrong -> (ground truths, what makes it wrong, the kind of the one error)
CAUSES: dict[str, tuple[dict[str, str], Callable[[Path], object], str]] = {
    "image of a negative height": (INSTANCES, lambda y: image(y, "instances.json", height=-1), "size"),
    "image without height": (INSTANCES, lambda y: without(y, "instances.json", "images.0.height"), "format"),
    "image without id": (INSTANCES, lambda y: without(y, "instances.json", "images.0.id"), "format"),
    "image outside of the folder": (INSTANCES, lambda y: image(y, "instances.json", file_name="../0.png"), "path"),
    "image that is not listed": (INSTANCES, lambda y: without(y, "instances.json", "images.0"), "missing-file"),
    "panoptic image of a negative height": (PANOPTIC, lambda y: image(y, "panoptic.json", height=-1), "size"),
    "wrong image in one of two": (BOTH, lambda y: image(y, "instances.json", height=-1), "size"),
    "wrong image of a name with a backslash": (
        BOTH,
        lambda y: image(y, "instances.json", height=-1, file_name=".\\0.png"),
        "size",
    ),
    "image outside of the folder in one of two": (
        BOTH,
        lambda y: image(y, "panoptic.json", file_name="..\\images\\0.png"),
        "path",
    ),
    "all segments of no class": (
        PANOPTIC,
        lambda y: edit(y / "panoptic.json", forget_classes),
        "class",
    ),
    "no image in one of two": (BOTH, lambda y: edit(y / "instances.json", lambda c: c.update(images=[])), "format"),
    "images of one id": (
        INSTANCES,
        lambda y: edit(y / "instances.json", lambda c: c["images"][1].update(id=c["images"][0]["id"])),
        "duplicate",
    ),
    "masks of no area": (
        {**INSTANCES, "CLASSES": "classes.json"},
        lambda y: edit(y / "instances.json", keep_one_mask_of_two_points),
        "mask",
    ),
    "no annotation in one of two": (
        BOTH,
        lambda y: without(y, "panoptic.json", "annotations.0"),
        "missing-ground-truth",
    ),
    "PNG outside of the folder": (
        PANOPTIC,
        lambda y: edit(y / "panoptic.json", lambda c: c["annotations"][0].update(file_name="../0.png")),
        "path",
    ),
    "annotation without image id": (
        PANOPTIC,
        lambda y: without(y, "panoptic.json", "annotations.0.image_id"),
        "format",
    ),
    "segment of no class": (
        PANOPTIC,
        lambda y: edit(y / "panoptic.json", lambda c: c["annotations"][0]["segments_info"][1].update(category_id=9)),
        "class",
    ),
    "segment without id": (
        PANOPTIC,
        lambda y: without(y, "panoptic.json", "annotations.0.segments_info.1.id"),
        "format",
    ),
    "class that is missing": (
        {**INSTANCES, "CLASSES": "classes.json"},
        lambda y: edit(y / "classes.json", lambda c: c[1].update(name="cow", id=5)),
        "class",
    ),
    "class that is missing in both": (
        PANOPTIC,
        lambda y: edit(y / "panoptic.json", lambda c: c["categories"][1].update(id=5)),
        "class",
    ),
    "image of another size": (BOTH, resize, "size"),
    "image of another size than the label": (SEMANTIC, resize, "size"),
    "no folder of images": (BOTH, lambda y: shutil.rmtree(y / "images"), "missing-file"),
    "no folder of PNGs": (PANOPTIC, lambda y: shutil.rmtree(y / "panoptic"), "missing-file"),
    "no folder of labels": ({**INSTANCES, **SEMANTIC}, lambda y: shutil.rmtree(y / "semantic"), "missing-file"),
    "damaged label": (SEMANTIC, lambda y: (y / "semantic/0.png").write_bytes(b"PNG"), "unreadable"),
    "damaged image": (BOTH, lambda y: (y / "images/0.png").write_bytes(b"PNG"), "unreadable"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_one_error(name: str, yard: Path) -> None:
    truths, spoil, kind = CAUSES[name]
    spoil(yard)
    register_custom([{"NAME": "yard", "IMAGES": "images", **truths}], yard)
    (survey,) = survey_datasets(["yard"], workers=0)
    assert [problem.kind for problem in survey.problems] == [kind], [str(problem) for problem in survey.problems]


def test_a_repeated_cause_tells_its_number(yard: Path) -> None:
    edit(yard / "instances.json", lambda c: [a.update(category_id=9) for a in c["annotations"][2:5]])
    register_custom([{"NAME": "yard", "IMAGES": "images", **INSTANCES}], yard)
    (survey,) = survey_datasets(["yard"], workers=0)
    (problem,) = survey.problems
    assert problem.record == "annotations record 2" and "9" in problem.cause and "3 records" in problem.cause


def test_independent_errors_are_all_reported(yard: Path) -> None:
    image(yard, "instances.json", height=-1)
    edit(yard / "instances.json", lambda c: c["annotations"][2].update(bbox=[1, 2, -3, 4]))
    edit(yard / "instances.json", lambda c: c["annotations"][4].update(image_id=77))
    register_custom([{"NAME": "yard", "IMAGES": "images", **INSTANCES}], yard)
    (survey,) = survey_datasets(["yard"], workers=0)
    assert sorted(problem.kind for problem in survey.problems) == ["box", "missing-file", "size"]
