"""Average precision of boxes and masks, from instances in memory to the scores of all classes.

The method is what InstanceEvaluator calls after the last image; hotcoco matches the instances. The peer is pycocotools'
COCOeval on the same objects in its own form: the annotations as dictionaries, indexed anew at each call. A further
comparison is of what the evaluator computes besides with the average precision.

With --growth FILE.png, the method alone is timed over the number of images and over the detections of an image; the
result is a plot and a JSON file beside it.
"""

import argparse
import contextlib
import io
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import hotcoco
import numpy as np
from pycocotools import mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unified_seg.data.coco.rle import encode_window
from unified_seg.evaluation.base import Scores
from unified_seg.evaluation.instances.average_precision import compute_average_precision, match_instances
from unified_seg.evaluation.instances.diagnosis import diagnose, find_label_errors, inspect_images
from unified_seg.evaluation.instances.objects import Detection, GroundTruthInstance, ImageInstances
from unified_seg_cli import ToolParser

from . import growth
from .harness import Call, Comparison, set_hotcoco_threads

SEED = 0
SIZE = (480, 640)
MAX_DETECTIONS = 100
IMAGES = (25, 50, 100, 200, 400, 800)
DETECTIONS_PER_IMAGE = (5, 10, 20, 50, 100)


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--images", "images", default=400)
    parser.add_count("--objects", "objects in all images", default=4469)
    parser.add_count("--detections", "detections in all images", default=9115)
    parser.add_count("--classes", "classes", default=80)
    parser.add_argument(
        "--growth", type=Path, metavar="FILE.png", help="plot the time over images and detections instead"
    )


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparisons for boxes and for masks, and that of the diagnosis with both."""
    given = (args.size, args.images, args.objects, args.detections, args.classes)
    inputs = (
        f"{args.images} synthetic images (seed {SEED}), {args.size[0]}x{args.size[1]}, {args.objects:,} objects, "
        f"{args.detections:,} detections, {args.classes} classes"
    )
    return [
        Comparison(
            name=f"average precision of {what}",
            against="pycocotools' COCOeval",
            inputs=inputs,
            method=partial(prepare_method, task, args.threads, *given),
            peer=partial(prepare_peer, task, *given),
            equal="AP, AP50, AP75, APs, APm, APl and AP of every class, to the last digit",
            assert_equal=assert_equal_scores,
        )
        for task, what in (("bbox", "boxes"), ("segm", "masks"))
    ] + [
        Comparison(
            name="kinds of errors, calibration, label errors",
            against="the average precision of boxes and masks by this library",
            inputs=inputs,
            method=partial(prepare_diagnosis, args.threads, *given),
            peer=partial(prepare_both, args.threads, *given),
            equal="AP50 to 1e-9",
            assert_equal=assert_equal_ap50,
        )
    ]


def draw_growth(args: argparse.Namespace, machine: str) -> None:
    """Time the method over images, and over the detections of an image."""

    def sweep(name: str, fixed: str, inputs: Sequence[tuple[int, int, int]]) -> growth.Sweep:
        described = [{"images": n, "detections an image": round(d / n)} for n, _, d in inputs]
        calls = [partial(prepare_method, "segm", args.threads, args.size, *each, args.classes) for each in inputs]
        return growth.Sweep(name, fixed, described, calls)

    objects, detections = args.objects / args.images, args.detections / args.images
    sweeps = [
        sweep(
            "images",
            f"{objects:.3g} objects and {detections:.3g} detections an image",
            [(n, round(n * objects), round(n * detections)) for n in IMAGES],
        ),
        sweep(
            "detections an image",
            f"{args.images} images, {args.objects:,} objects",
            [(args.images, args.objects, args.images * d) for d in DETECTIONS_PER_IMAGE],
        ),
    ]
    growth.draw(args, machine, "Average precision of masks, time of all images", sweeps)


def prepare_method(task: str, threads: int, *given: Any) -> Call:
    set_hotcoco_threads(threads)
    return partial(score, make_images(*given), task, name_classes(given[-1]))


def score(images: Sequence[ImageInstances], task: str, class_names: Sequence[str]) -> Scores:
    return compute_average_precision(match_instances(images, task, class_names, MAX_DETECTIONS), class_names)


def prepare_both(threads: int, *given: Any) -> Call:
    calls = [prepare_method(task, threads, *given) for task in ("bbox", "segm")]
    return lambda: [call() for call in calls][-1]


def prepare_diagnosis(threads: int, *given: Any) -> Call:
    set_hotcoco_threads(threads)
    images, names = make_images(*given), name_classes(given[-1])
    return partial(diagnose_all, match_instances(images, "segm", names, MAX_DETECTIONS), images, names)


def diagnose_all(matches: hotcoco.COCOeval, images: Sequence[ImageInstances], class_names: Sequence[str]) -> float:
    """Do what InstanceEvaluator does after the average precision; return AP50."""
    records = [{"image_id": i, "file_name": f"{i}.png"} for i in range(len(images))]
    find_label_errors(inspect_images(matches), images, records, class_names)
    return diagnose(matches, images, class_names)[1]["AP50"]


def prepare_peer(task: str, *given: Any) -> Call:
    images = make_images(*given)
    ground_truth, detections = (_list_annotations(images, which, task) for which in ("ground_truth", "detections"))
    content = {
        "images": [{"id": i, "height": given[0][0], "width": given[0][1]} for i in range(len(images))],
        "categories": [{"id": i, "name": name} for i, name in enumerate(name_classes(given[-1]))],
    }
    truth, found = ({**content, "annotations": annotations} for annotations in (ground_truth, detections))
    return partial(score_by_peer, truth, found, task)


def score_by_peer(ground_truth: dict[str, Any], detections: dict[str, Any], task: str) -> Scores:
    """Return the scores of pycocotools in percent, by the names of `compute_average_precision`."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        evaluation = COCOeval(_index(ground_truth), _index(detections), task)
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0]  # (IoU threshold, recall, class, size)
    chosen = {"AP": precision[..., 0], "AP50": precision[0, ..., 0], "AP75": precision[5, ..., 0]}
    chosen |= {f"AP{size}": precision[..., i] for i, size in enumerate("sml", start=1)}
    chosen |= {f"AP-{c['name']}": precision[:, :, i, 0] for i, c in enumerate(ground_truth["categories"])}
    defined = {name: values[values > -1] for name, values in chosen.items()}
    return {name: 100 * float(values.mean()) if values.size else float("nan") for name, values in defined.items()}


def _index(content: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def _list_annotations(images: Sequence[ImageInstances], which: str, task: str) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images):
        for each in getattr(image, which):
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": each.thing_id}
            annotation |= {"bbox": list(each.box), "segmentation": each.mask, "iscrowd": 0}
            if which == "ground_truth":
                annotation |= {"area": each.area, "iscrowd": int(each.is_crowd)}
            else:
                area = float(mask_util.area(each.mask)) if task == "segm" else each.box[2] * each.box[3]
                annotation |= {"area": area, "score": each.score}
            annotations.append(annotation)
    return annotations


def name_classes(count: int) -> list[str]:
    return [f"class {i}" for i in range(count)]


@cache
def make_images(
    size: tuple[int, int], images: int, objects: int, detections: int, classes: int
) -> list[ImageInstances]:
    """Make random ellipses as objects, and the detections of a model that errs in class, place and number.

    Three of four detections are an object with other bounds, one of five of these with another class; the others are
    anywhere. Their scores are higher, the better they are. Some objects are crowds, and frequent classes are more
    frequent than others, as in COCO.
    """
    random = np.random.default_rng(SEED)
    truth: list[list[GroundTruthInstance]] = [[] for _ in range(images)]
    found: list[list[Detection]] = [[] for _ in range(images)]
    places = random.integers(images, size=objects)
    bounds = _draw_bounds(random, objects, size)
    thing_ids = _draw_classes(random, objects, classes)
    for image, bound, thing_id in zip(places.tolist(), bounds, thing_ids.tolist()):
        box, rle = _draw_ellipse(bound, size)
        crowd = bool(random.random() < 0.01)
        truth[image].append(GroundTruthInstance(thing_id, box, float(mask_util.area(rle)), crowd, rle))
    anywhere = _draw_bounds(random, detections, size)
    errors = np.exp(random.normal(0, 0.15, (detections, 4)))
    for i, chosen in enumerate(random.integers(objects, size=detections).tolist()):
        if random.random() < 0.75:
            center, half = bounds[chosen].reshape(2, 2)
            bound = np.concatenate([center + half * (errors[i, :2] - 1), half * errors[i, 2:]])
            thing_id = int(thing_ids[chosen]) if random.random() < 0.8 else int(random.integers(classes))
            image, quality = int(places[chosen]), 1 - float(np.abs(errors[i] - 1).mean())
        else:
            bound, thing_id = anywhere[i], int(_draw_classes(random, 1, classes)[0])
            image, quality = int(random.integers(images)), 0.3
        box, rle = _draw_ellipse(bound, size)
        confidence = float(np.float32(np.clip(quality + random.normal(0, 0.15), 0.05, 1)))
        found[image].append(Detection(thing_id, confidence, list(box), rle))
    return [ImageInstances(*each, None) for each in zip(truth, found)]


def _draw_bounds(random: np.random.Generator, count: int, size: tuple[int, int]) -> np.ndarray:
    """Return (count, 4) center x, center y, half width, half height in pixels; from small to large in COCO's sense."""
    center = random.random((count, 2)) * (size[1], size[0])
    half = np.exp(random.normal(3, 0.9, (count, 1)) + random.normal(0, 0.3, (count, 2)))
    return np.concatenate([center, half], axis=1)


def _draw_classes(random: np.random.Generator, count: int, classes: int) -> np.ndarray:
    weights = 1 / np.arange(1, classes + 1)
    return random.choice(classes, size=count, p=weights / weights.sum())


def _draw_ellipse(bound: np.ndarray, size: tuple[int, int]) -> tuple[tuple[float, float, float, float], Any]:
    """Return the box x, y, width, height of an ellipse within the image, and its run lengths."""
    low = np.clip(bound[:2] - bound[2:], 0, (size[1] - 2, size[0] - 2)).astype(int)
    high = np.clip(bound[:2] + bound[2:], low + 2, (size[1], size[0])).astype(int)
    width, height = (high - low).tolist()
    mask = np.zeros((height, width), dtype=np.uint8)
    center, axes = ((width - 1) // 2, (height - 1) // 2), (max(1, width // 2), max(1, height // 2))
    cv2.ellipse(mask, center, axes, 0, 0, 360, 1, cv2.FILLED)
    box = (float(low[0]), float(low[1]), float(width), float(height))
    return box, encode_window(mask.astype(bool), int(low[1]), int(low[0]), size)


def assert_equal_scores(method: Scores, peer: Scores) -> None:
    assert method.keys() == peer.keys()
    for name, value in peer.items():
        assert method[name] == value or (np.isnan(method[name]) and np.isnan(value)), f"{name}: {method[name]}, {value}"


def assert_equal_ap50(method: float, peer: Scores) -> None:
    assert abs(method - peer["AP50"]) < 1e-9, f"{method} is not {peer['AP50']}"
