"""Random changes of a small data set: each is reported, or the scores are those of the official tools.

An annotation file or a label is changed at random, by a seed, and the data set is loaded, checked and scored. Nothing
may crash. If nothing is reported, a fixed prediction must score as before, or as panopticapi, pycocotools or plain
numpy score it with the changed file: then the change made a different data set, but not an invalid one.
"""

import contextlib
import copy
import io
import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from detectron2.structures import Boxes, Instances
from panopticapi.evaluation import pq_compute_single_core
from PIL import Image
from pycocotools import mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unified_seg.data.datasets.custom import CustomDataset
from unified_seg.data.problems import DataError, Problem
from unified_seg.data.validation.checks import check_record
from unified_seg.evaluation.instances import InstanceEvaluator
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable

MUTATIONS = 500
SIZE = (24, 32)
GRASS, HEN, COW = 3, 17, 40
THINGS = (HEN, COW)
CATEGORIES: list[dict[str, Any]] = [
    {"id": GRASS, "name": "grass", "isthing": 0, "color": [0, 90, 0]},
    {"id": HEN, "name": "hen", "isthing": 1, "color": [200, 100, 0]},
    {"id": COW, "name": "cow", "isthing": 1, "color": [90, 60, 30]},
]
# Of each image: (class, top, left, height, width); predicted ones are shifted by a pixel, and one is missing.
SCENES = [[(HEN, 2, 3, 6, 5), (HEN, 14, 4, 6, 6), (COW, 5, 16, 12, 12)], [(COW, 3, 3, 10, 14), (HEN, 15, 20, 5, 7)]]
ENTRIES = {
    "panoptic": {"PANOPTIC": "panoptic.json"},
    "instances": {"INSTANCES": "instances.json", "CLASSES": "classes.yaml"},
    "semantic": {"SEMANTIC": "semantic", "CLASSES": "classes.yaml", "IGNORE": [0]},
}
METRICS = {"panoptic": ("panoptic_seg", "PQ"), "instances": ("segm", "AP"), "semantic": ("sem_seg", "mIoU")}
# The task of each file.
FILES = {
    "panoptic.json": "panoptic",
    "panoptic/0.png": "panoptic",
    "instances.json": "instances",
    "semantic/1.png": "semantic",
    "classes.yaml": "semantic",
}


def draw(scene: list[Any], shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return category ids and segment ids of a scene; the first two rows are void."""
    labels, ids = np.full(SIZE, GRASS), np.full(SIZE, 1)
    for number, (category, top, left, height, width) in enumerate(scene):
        area = (slice(top + shift, top + shift + height), slice(left + shift, left + shift + width))
        labels[area], ids[area] = category, 1000 + number
    labels[:2] = ids[:2] = 0
    return labels, ids


def infos_of(labels: np.ndarray, ids: np.ndarray) -> list[dict[str, Any]]:
    present = [int(i) for i in np.unique(ids) if i]
    return [{"id": i, "category_id": int(labels[ids == i][0]), "area": int((ids == i).sum())} for i in present]


def save_ids(file: Path, ids: np.ndarray) -> None:
    coded = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    Image.fromarray(coded).save(file)


def predicted(index: int) -> tuple[np.ndarray, np.ndarray]:
    return draw(SCENES[index][: 3 - index], shift=1)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the data set and of the predictions in the format of panopticapi."""
    root = tmp_path_factory.mktemp("clean")
    for folder in ("images", "panoptic", "semantic", "predicted"):
        (root / folder).mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    for index, scene in enumerate(SCENES):
        name = f"{index}.png"
        labels, ids = draw(scene)
        Image.fromarray(np.full((*SIZE, 3), 50, dtype=np.uint8)).save(root / "images" / name)
        Image.fromarray(labels.astype(np.uint8)).save(root / "semantic" / name)
        save_ids(root / "panoptic" / name, ids)
        save_ids(root / "predicted" / name, predicted(index)[1])
        images.append({"id": index, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        segments = [{**info, "iscrowd": 0} for info in infos_of(labels, ids)]
        annotations.append({"image_id": index, "file_name": name, "segments_info": segments})
        for number, (category, top, left, height, width) in enumerate(scene):
            mask = mask_util.encode(np.asfortranarray(ids == 1000 + number).astype(np.uint8))
            outline = [left, top, left + width, top, left + width, top + height, left, top + height]
            runs = {"size": list(SIZE), "counts": mask["counts"].decode()}
            instances.append(
                {
                    "id": 10 * index + number + 1,
                    "image_id": index,
                    "category_id": category,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [outline] if number else runs,
                }
            )
    write = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (root / "panoptic.json").write_text(json.dumps(write))
    (root / "instances.json").write_text(json.dumps({**write, "annotations": instances}))
    (root / "classes.yaml").write_text(yaml.safe_dump(CATEGORIES))
    return root


def output(index: int, table: ClassTable) -> dict[str, Any]:
    """Return the output of a model for an image, in the ids of a table."""
    labels, ids = predicted(index)
    classes = table.by_dataset_id
    semantic = np.full(SIZE, classes[GRASS].semantic_id)
    infos = infos_of(labels, ids)
    for info in infos:
        cls = classes[info["category_id"]]
        semantic[ids == info["id"]] = cls.semantic_id
        info |= {"category_id": cls.category_id, "isthing": cls.is_thing}
    things = [i for i in infos if i["id"] >= 1000]
    masks = BoxMasks.from_full(torch.from_numpy(np.stack([ids == i["id"] for i in things])))
    instances = Instances(
        SIZE,
        pred_boxes=Boxes(masks.windows.float()),
        pred_classes=torch.tensor([i["category_id"] for i in things]),
        scores=torch.linspace(0.9, 0.6, len(things)),
        pred_masks=masks,
    )
    return {
        "sem_seg_labels": torch.from_numpy(semantic),
        "panoptic_seg": (torch.from_numpy(ids).int(), infos),
        "instances": instances,
    }


def score(root: Path, ground_truth: str) -> float | None:
    """Return the score of the prediction, or None if a problem is reported."""
    found: list[Problem] = []
    try:
        dataset = CustomDataset.from_entry({"NAME": "mutated", "IMAGES": "images", **ENTRIES[ground_truth]}, root)
        table = dataset.read_table()
        records = dataset.load(found.append)
        for record in records:
            check_record(record, table, found.append)
    except DataError as error:
        assert str(root) in str(error)
        return None
    assert all(str(root) in problem.file for problem in found)
    if found:
        return None
    try:
        results = evaluate(root, ground_truth, table, records)
    except ValueError as error:
        # The evaluator reports what cannot be scored at all.
        assert str(error).startswith("no ground-truth instance") or (
            isinstance(error, DataError) and str(root) in str(error)
        )
        return None
    task, metric = METRICS[ground_truth]
    return float(results[task][metric])


def evaluate(
    root: Path, ground_truth: str, table: ClassTable, records: list[dict[str, Any]]
) -> dict[str, dict[str, float]]:
    kinds: dict[str, Any] = {
        "semantic": SemanticEvaluator,
        "panoptic": PanopticEvaluator,
        "instances": InstanceEvaluator,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = kinds[ground_truth](table, records, root / "scores")
        evaluator.reset()
        for record in records:
            evaluator.process([record], [output(int(Path(record["file_name"]).stem), table)])
        return evaluator.evaluate()


def score_officially(root: Path, ground_truth: str) -> float:
    """Return the score of the official tools from the same files."""
    with contextlib.redirect_stdout(io.StringIO()):
        return {"semantic": by_numpy, "panoptic": by_panopticapi, "instances": by_pycocotools}[ground_truth](root)


def by_numpy(root: Path) -> float:
    classes = [c["id"] for c in yaml.safe_load((root / "classes.yaml").read_text())]
    both = [(np.array(Image.open(root / f"semantic/{i}.png")), predicted(i)[0]) for i in range(2)]
    ground_truth = np.stack([t for t, _ in both])
    prediction = np.stack([np.where(p == 0, GRASS, p) for _, p in both])
    counts = np.isin(ground_truth, classes)
    ious = []
    for c in classes:
        union = (((ground_truth == c) | (prediction == c)) & counts).sum()
        ious.append(((ground_truth == c) & (prediction == c)).sum() / union if union else np.nan)
    return 100 * float(np.nanmean(ious))


def by_panopticapi(root: Path) -> float:
    content = json.loads((root / "panoptic.json").read_text())
    pairs = []
    for annotation in content["annotations"]:
        file = {i["id"]: i["file_name"] for i in content["images"]}[annotation["image_id"]]
        infos = infos_of(*predicted(int(Path(file).stem)))
        pairs.append((annotation, {"file_name": file, "segments_info": infos}))
    categories = {c["id"]: c for c in content["categories"]}
    stat = pq_compute_single_core(0, pairs, str(root / "panoptic"), str(root / "predicted"), categories)
    return 100 * float(stat.pq_average(categories, isthing=None)[0]["pq"])


def by_pycocotools(root: Path) -> float:
    ground_truth = COCO(str(root / "instances.json"))
    found = []
    for image in ground_truth.dataset["images"]:
        labels, ids = predicted(int(Path(image["file_name"]).stem))
        things = [i for i in infos_of(labels, ids) if i["id"] >= 1000]
        for info, score in zip(things, torch.linspace(0.9, 0.6, len(things)).tolist()):
            mask = mask_util.encode(np.asfortranarray(ids == info["id"]).astype(np.uint8))
            found.append(
                {"image_id": image["id"], "category_id": info["category_id"], "score": score, "segmentation": mask}
            )
    evaluation = COCOeval(ground_truth, ground_truth.loadRes(found), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    # pycocotools' -1 is "no instance".
    return 100 * float(evaluation.stats[0]) if evaluation.stats[0] > -1 else math.nan


# Values that appear in real files instead of valid ones.
ODD: list[Any] = [
    None,
    "",
    "x",
    -1,
    0,
    1,
    2,
    1.5,
    1e300,
    float("nan"),
    float("inf"),
    2**70,
    True,
    [],
    {},
    [[]],
    "../../x",
]


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every value in the content of a JSON."""
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from places(content[key])


def mutate_content(content: Any, draw_from: random.Random) -> None:
    container, key = draw_from.choice(list(places(content)))
    kind = draw_from.choice(["remove", "odd", "odd", "odd", "twice", "swap"])
    if kind == "remove":
        del container[key]
    elif kind == "odd":
        container[key] = draw_from.choice(ODD)
    elif kind == "twice" and isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    else:
        other, place = draw_from.choice(list(places(content)))
        container[key] = copy.deepcopy(other[place])


def mutate_bytes(file: Path, draw_from: random.Random) -> None:
    data = bytearray(file.read_bytes())
    if draw_from.random() < 0.3:
        del data[draw_from.randrange(len(data)) :]
    else:
        for _ in range(draw_from.choice([1, 1, 3])):
            data[draw_from.randrange(len(data))] ^= 1 << draw_from.randrange(8)
    file.write_bytes(data)


def mutate_image(file: Path, draw_from: random.Random) -> None:
    image = Image.open(file)
    image.load()
    array = np.array(image)
    changes: list[Callable[[], Image.Image]] = [
        lambda: image.rotate(90, expand=True),
        lambda: image.resize((SIZE[1], SIZE[0] + 1)),
        lambda: image.convert("L" if image.mode == "RGB" else "RGB"),
        lambda: image.convert("P"),
        lambda: image.convert("RGBA"),
        lambda: Image.fromarray(np.array(image.convert("L")).astype(np.uint16) * 3),
    ]
    if draw_from.random() < 0.6:
        row, column = draw_from.randrange(SIZE[0] - 4), draw_from.randrange(SIZE[1] - 4)
        array[row : row + 4, column : column + 4] = draw_from.choice([0, 1, GRASS, HEN, COW, 200, 255])
        image = Image.fromarray(array)
    else:
        image = draw_from.choice(changes)()
    image.save(file, format="PNG")


def mutate(root: Path, seed: int) -> str:
    """Change one file, and return its name."""
    draw_from = random.Random(seed)
    name = draw_from.choice(list(FILES))
    file = root / name
    content = file.read_bytes()
    file.unlink()  # a hard link
    file.write_bytes(content)
    if draw_from.random() < 0.3:
        mutate_bytes(file, draw_from)
    elif name.endswith(".png"):
        mutate_image(file, draw_from)
    elif name.endswith(".yaml"):
        content = yaml.safe_load(file.read_text())
        mutate_content(content, draw_from)
        file.write_text(yaml.safe_dump(content))
    else:
        content = json.loads(file.read_text())
        mutate_content(content, draw_from)
        file.write_text(json.dumps(content))
    return name


@pytest.mark.parametrize("ground_truth", ENTRIES)
def test_unchanged_data_set_has_the_official_scores(ground_truth: str, clean: Path) -> None:
    """The scores are neither 0 nor 100, so that errors in both directions are visible."""
    found = score(clean, ground_truth)
    assert found is not None and 20 < found < 90
    assert found == pytest.approx(score_officially(clean, ground_truth), abs=1e-6)


@pytest.mark.parametrize("part", range(10))
def test_changed_data_set_is_reported_or_scored_officially(part: int, clean: Path, tmp_path: Path) -> None:
    expected = {ground_truth: score_officially(clean, ground_truth) for ground_truth in ENTRIES}
    reported = 0
    share = MUTATIONS // 10
    for seed in range(part * share, (part + 1) * share):
        root = tmp_path / str(seed)
        shutil.copytree(clean, root, copy_function=os.link)
        name = mutate(root, seed)
        ground_truth = FILES[name]
        found = score(root, ground_truth)
        if found is None:
            reported += 1
        elif found != pytest.approx(expected[ground_truth], abs=1e-6):
            assert found == pytest.approx(score_officially(root, ground_truth), abs=1e-6, nan_ok=True), (
                f"seed {seed}: {name}"
            )
    # Most of what can happen to a file makes it useless.
    assert reported > share / 2
