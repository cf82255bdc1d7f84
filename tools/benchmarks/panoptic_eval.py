"""Panoptic evaluation of one image, from a model's output and a PNG of the ground truth to the matches of segments.

The method is PanopticEvaluator.process, which works in memory. The peer writes the prediction as a PNG, as Detectron2's
COCOPanopticEvaluator does, and calls panopticapi's pq_compute_single_core. Both decode the PNG of the ground truth,
which takes most of the method's time; another comparison times the matching of two maps in memory. hotcoco reads PNGs
of both; it is timed with the writing of that of the prediction and without.
"""

import argparse
import contextlib
import io
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import hotcoco
import numpy as np
import torch
from panopticapi.evaluation import PQStat, pq_compute_single_core
from panopticapi.utils import id2rgb
from PIL import Image

from unified_seg.data.io.label_files import read_panoptic_ids
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.ops.metrics.panoptic_quality import PanopticMatches, Segment, match_segments
from unified_seg_cli import ToolParser

from .harness import Call, Comparison, set_hotcoco_threads
from .plain_fusion import fuse_plainly
from .streets import SEED, make_street, unified_table

SIZE = (1024, 2048)
QUALITIES = ("PQ", "SQ", "RQ")
SHIFT = 4  # pixels between ground truth and prediction
Segments = list[dict[str, Any]]


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--instances", "thing segments", default=200)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparison of the whole evaluation and that of the matching alone."""
    _, infos = true_segments(args.size, args.instances)
    given = (args.size, args.instances, args.device)
    inputs = f"a synthetic street (seed {SEED}), {args.size[0]}x{args.size[1]}, {len(infos)} segments"
    return [
        Comparison(
            name="panoptic evaluation of an image",
            against="panopticapi's pq_compute_single_core, with writing its PNG",
            inputs=inputs,
            method=partial(prepare_method, *given),
            peer=partial(prepare_peer, *given),
            equal="PQ, SQ, RQ of every class to 1e-9",
            assert_equal=assert_equal_qualities,
        ),
        *(
            Comparison(
                name="panoptic evaluation of an image",
                against=f"hotcoco's PanopticEval, {how}",
                inputs=inputs,
                method=partial(prepare_method, *given),
                peer=partial(prepare_hotcoco, args.size, args.instances, args.threads, writes),
                equal="PQ, SQ, RQ of every class to 1e-9",
                assert_equal=assert_equal_to_hotcoco,
            )
            for how, writes in (("with writing its PNG", True), ("on a prediction that is a PNG", False))
        ),
        Comparison(
            name="matching of two panoptic maps",
            against="panopticapi's pq_compute_single_core on decoded images",
            inputs=inputs,
            method=partial(prepare_method_matching, args.size, args.instances),
            peer=partial(prepare_peer_matching, args.size, args.instances),
            equal="true and false positives and negatives, and the sums of IoU to 1e-9, of every class",
            assert_equal=assert_equal_matches,
        ),
    ]


def true_segments(size: tuple[int, int], instances: int) -> tuple[np.ndarray, Segments]:
    """Return the (H, W) int32 segment ids of a street, 0 = void, and the descriptions of the segments."""
    ids, classes = fuse_plainly(make_street(size, instances, winding=False), unified_table())
    return ids, [
        {"id": number, "isthing": is_thing, "category_id": category_id}
        for number, (is_thing, category_id) in classes.items()
    ]


def predicted_segments(ids: np.ndarray, infos: Segments) -> tuple[np.ndarray, Segments]:
    """Return the ground truth shifted by some pixels, a tenth of its segments removed, a tenth with another class."""
    random = np.random.default_rng(SEED)
    chance = random.random(len(infos))
    shifted = np.roll(ids, (SHIFT, SHIFT), axis=(0, 1))
    shifted[np.isin(shifted, [info["id"] for info, c in zip(infos, chance) if c < 0.1])] = 0
    present = set(np.unique(shifted).tolist())
    things = unified_table().num_things
    return shifted, [
        {**info, "category_id": (info["category_id"] + 1) % things} if info["isthing"] and c > 0.9 else dict(info)
        for info, c in zip(infos, chance)
        if info["id"] in present
    ]


class Setting:
    """Ground truth on disk and a prediction in memory.

    Attributes:
        root: a folder that is removed with this object.
        record: the data set record of the image.
        ids, infos: the predicted map and its segments.
        true_infos: the segments of the ground truth.
    """

    def __init__(self, size: tuple[int, int], instances: int):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        true_ids, self.true_infos = true_segments(size, instances)
        Image.fromarray(id2rgb(true_ids)).save(self.root / "ground_truth.png")
        self.true_areas = np.bincount(true_ids.reshape(-1)).tolist()
        self.ids, self.infos = predicted_segments(true_ids, self.true_infos)
        self.record: dict[str, Any] = {
            "file_name": str(self.root / "street.png"),
            "image_id": "street",
            "height": size[0],
            "width": size[1],
            "pan_seg_file_name": str(self.root / "ground_truth.png"),
            "segments_info": [{**info, "iscrowd": 0} for info in self.true_infos],
        }


class MethodEvaluation:
    """PanopticEvaluator, which evaluates the image anew at each call; a call returns the object itself."""

    def __init__(self, setting: Setting, device: str):
        self.setting = setting
        self.evaluator = PanopticEvaluator(unified_table(), [setting.record], setting.root / "results")
        self.outputs = [{"panoptic_seg": (torch.from_numpy(setting.ids).to(device), setting.infos)}]

    def __call__(self) -> "MethodEvaluation":
        self.evaluator.reset()
        self.evaluator.process([self.setting.record], self.outputs)
        return self


class MethodMatching:
    """`match_segments` on maps in memory."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.index_of = {c.dataset_id: i for i, c in enumerate(unified_table().classes)}
        self.true_ids = read_panoptic_ids(setting.record["pan_seg_file_name"])

    def __call__(self) -> PanopticMatches:
        true, predicted = (self._segments(infos) for infos in (self.setting.true_infos, self.setting.infos))
        return match_segments(self.true_ids, true, self.setting.ids, predicted, len(self.index_of))

    def _segments(self, infos: Segments) -> list[Segment]:
        classes = [unified_table().find_class(info["category_id"], info["isthing"]) for info in infos]
        return [Segment(info["id"], self.index_of[c.dataset_id]) for info, c in zip(infos, classes)]


class PeerEvaluation:
    """Writing the PNG, and panopticapi on the image."""

    def __init__(self, setting: Setting, device: str):
        self.setting = setting
        self.ids = torch.from_numpy(setting.ids).to(device)
        classes = unified_table().classes
        self.categories = {c.dataset_id: {"id": c.dataset_id, "isthing": int(c.is_thing)} for c in classes}

    def __call__(self) -> PQStat:
        Image.fromarray(id2rgb(self.ids.cpu().numpy())).save(self.setting.root / "prediction.png")
        return self.match()

    def match(self) -> PQStat:
        root = self.setting.root
        ground_truth = _annotation("ground_truth.png", self.setting.true_infos)
        for segment in ground_truth["segments_info"]:
            segment |= {"iscrowd": 0, "area": self.setting.true_areas[segment["id"]]}
        pair = (ground_truth, _annotation("prediction.png", self.setting.infos))
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            return pq_compute_single_core(0, [pair], str(root), str(root), self.categories)


class PeerMatching(PeerEvaluation):
    """panopticapi on the image, with its PNGs decoded before."""

    def __init__(self, setting: Setting):
        super().__init__(setting, "cpu")
        ground_truth = np.array(Image.open(setting.root / "ground_truth.png"))
        self.decoded = {"ground_truth.png": ground_truth, "prediction.png": id2rgb(setting.ids)}

    def __call__(self) -> PQStat:
        images = SimpleNamespace(open=lambda path: self.decoded[Path(path).name])
        with mock.patch("panopticapi.evaluation.Image", images):
            return self.match()


class HotcocoEvaluation:
    """hotcoco's evaluation of two PNGs, whose descriptions are in memory; each call writes one of them if `writes`."""

    def __init__(self, setting: Setting, writes: bool):
        self.setting = setting
        self.writes = writes
        self.write()
        categories = [{"id": c.dataset_id, "name": c.name, "isthing": int(c.is_thing)} for c in unified_table().classes]
        size = {"height": setting.record["height"], "width": setting.record["width"]}
        self.contents = []
        for name, infos in (("ground_truth.png", setting.true_infos), ("prediction.png", setting.infos)):
            annotation = {**_annotation(name, infos), "image_id": 0}
            for segment in annotation["segments_info"]:
                segment |= {"iscrowd": 0, "area": setting.true_areas[segment["id"]]}
            image = {"id": 0, "file_name": "street.png", **size}
            self.contents.append({"images": [image], "annotations": [annotation], "categories": categories})

    def write(self) -> None:
        Image.fromarray(id2rgb(self.setting.ids)).save(self.setting.root / "prediction.png")

    def __call__(self) -> dict[str, Any]:
        if self.writes:
            self.write()
        folder = self.setting.root
        evaluation = hotcoco.panoptic.PanopticEval(*self.contents, gt_folder=folder, pred_folder=folder)
        evaluation.evaluate()
        return evaluation.results()


def prepare_hotcoco(size: tuple[int, int], instances: int, threads: int, writes: bool) -> Call:
    set_hotcoco_threads(threads)
    return HotcocoEvaluation(Setting(size, instances), writes)


def prepare_method(size: tuple[int, int], instances: int, device: str) -> Call:
    return MethodEvaluation(Setting(size, instances), device)


def prepare_peer(size: tuple[int, int], instances: int, device: str) -> Call:
    return PeerEvaluation(Setting(size, instances), device)


def prepare_method_matching(size: tuple[int, int], instances: int) -> Call:
    return MethodMatching(Setting(size, instances))


def prepare_peer_matching(size: tuple[int, int], instances: int) -> Call:
    return PeerMatching(Setting(size, instances))


def assert_equal_matches(method: PanopticMatches, peer: PQStat) -> None:
    for index, c in enumerate(unified_table().classes):
        expected = peer[c.dataset_id]
        counts = (method.tp[index], method.fp[index], method.fn[index])
        assert counts == (expected.tp, expected.fp, expected.fn), f"{c.name}: {counts} is not {expected}"
        iou, expected_iou = method.iou[index], expected.iou
        assert np.isclose(iou, expected_iou, rtol=0, atol=1e-9), f"{c.name}: IoU {iou} is not {expected_iou}"


def _annotation(file_name: str, infos: Segments) -> dict[str, Any]:
    """Return an annotation of COCO's panoptic format, with dataset ids as classes."""
    table = unified_table()
    segments = [
        {"id": info["id"], "category_id": table.find_class(info["category_id"], info["isthing"]).dataset_id}
        for info in infos
    ]
    return {"image_id": "street", "file_name": file_name, "segments_info": segments}


def assert_equal_qualities(method: MethodEvaluation, peer: PQStat) -> None:
    results = method.evaluator.evaluate()
    assert results is not None
    scores = results["panoptic_seg"]
    classes = {c.dataset_id: c for c in unified_table().classes}
    categories = {i: {"isthing": int(c.is_thing)} for i, c in classes.items()}
    expected: dict[str, float] = {}
    for suffix, things in (("", None), ("_th", True), ("_st", False)):
        means, by_class = peer.pq_average(categories, things)
        expected |= {quality + suffix: means[quality.lower()] for quality in QUALITIES}
        for i, qualities in by_class.items():
            seen = peer[i].tp + peer[i].fp + peer[i].fn > 0
            expected |= {f"{q}-{classes[i].name}": qualities[q.lower()] if seen else np.nan for q in QUALITIES}
    for name, value in expected.items():
        # The evaluator's scores are percent.
        equal = np.isclose(scores[name], 100 * value, rtol=0, atol=1e-7, equal_nan=True)
        assert equal, f"{name}: {scores[name]} is not {100 * value}"


def assert_equal_to_hotcoco(method: MethodEvaluation, peer: dict[str, Any]) -> None:
    results = method.evaluator.evaluate()
    assert results is not None
    scores = results["panoptic_seg"]
    groups = {"": peer["All"], "_th": peer["Things"], "_st": peer["Stuff"]}
    groups |= {f"-{c.name}": peer["per_class"][c.dataset_id] for c in unified_table().classes}
    for suffix, qualities in groups.items():
        for quality in QUALITIES:
            value, expected = scores[quality + suffix], 100 * qualities[quality.lower()]
            # A class that does not occur is NaN here.
            assert np.isclose(value, expected, rtol=0, atol=1e-7) or (np.isnan(value) and expected <= 0), (
                quality + suffix
            )
