"""The fusions against other ways to merge a semantic map and instances into a panoptic map.

The semantic-guided fusion matches instances to the semantic map, fills them, and refines labels and masks; its input
masks are cropped to their boxes. The fusion by evidence reads soft masks and confidences too. The peers merge in the
order of scores: Detectron2's combine_semantic_and_instance_outputs on full
masks, and panopticapi's combination of RLE masks, which also writes its map to a file (as BMP here, to leave out the
PNG compression). The filling alone is compared with a breadth-first search in plain Python, in which the things of the
semantic map are regions.

With --growth FILE.png, the method alone is timed over the number of instances (in the same part of the image) and over
the number of pixels; the result is a plot and a JSON file beside it.
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.modeling.meta_arch.panoptic_fpn import combine_semantic_and_instance_outputs
from detectron2.structures import Instances
from panopticapi.combine_semantic_and_instance_predictions import combine_to_panoptic_single_core
from panopticapi.utils import rgb2id
from PIL import Image

from unified_seg.data.coco.rle import encode_masks
from unified_seg.fusion.evidence import SemanticEvidence, fuse_by_evidence
from unified_seg.fusion.region_growing import grow_regions
from unified_seg.fusion.score_order import merge_by_score
from unified_seg.fusion.semantic_guided import SemanticGuidedResult, fuse_semantic_guided
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.soft_masks import SoftMasks
from unified_seg_cli import ToolParser

from . import growth
from .harness import Call, Comparison
from .plain_fusion import (
    OVERLAP_THRESHOLD,
    SCORE_THRESHOLD,
    Classes,
    assert_same_segments,
    fuse_plainly,
    grow_plainly,
    match_plainly,
)
from .pretend_device import DEVICE, PretendDevice
from .streets import SEED, Street, make_street, separated, separated_table, unified_table

SIZE = (1024, 2048)
IMAGE = "street"
#: A folder that is removed with the result, and the annotation.
RleResult = tuple[tempfile.TemporaryDirectory, dict[str, Any]]


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--instances", "instances in the image", default=40)
    parser.add_argument(
        "--growth", type=Path, metavar="FILE.png", help="plot the time over instances and pixels instead"
    )


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparisons with Detectron2 and panopticapi, and that of the filling alone."""
    given = (args.size, args.instances, args.device)
    street = make_street(args.size, args.instances, winding=True)
    owners, regions, _ = match_plainly(street, unified_table())
    filled, levels = grow_plainly(owners, regions)
    inputs = (
        f"a synthetic street (seed {SEED}), {args.size[0]}x{args.size[1]}, 19 classes, {args.instances} instances, "
        f"{np.count_nonzero(filled != owners):,} pixels to fill over {levels:,} breadth-first levels"
    )
    method = partial(prepare_method, *given)
    equal = "the method and its rule in plain Python; merge_by_score and the peer's segments"
    return [
        Comparison(
            name="fusion, semantic-guided",
            against="Detectron2's combine_semantic_and_instance_outputs on full masks",
            inputs=inputs,
            method=method,
            peer=partial(prepare_detectron2, *given),
            equal=equal,
            assert_equal=partial(assert_equal_to_detectron2, *given),
        ),
        Comparison(
            name="fusion, semantic-guided, RLE peer",
            against="panopticapi's combine_to_panoptic_single_core on RLE masks, on the CPU",
            inputs=inputs,
            method=method,
            peer=partial(prepare_panopticapi, *given),
            equal=equal,
            assert_equal=partial(assert_equal_to_panopticapi, *given),
        ),
        Comparison(
            name="fusion, by evidence",
            against="Detectron2's combine_semantic_and_instance_outputs on full masks",
            inputs=f"{inputs}, confidences of a head of stride 4",
            method=partial(prepare_evidence, *given),
            peer=partial(prepare_detectron2, *given),
            equal="the compiled and the tensor version of the method",
            assert_equal=partial(assert_tensors_agree, *given),
        ),
        Comparison(
            name="fusion, by evidence",
            against="the semantic-guided fusion",
            inputs=f"{inputs}, confidences of a head of stride 4",
            method=partial(prepare_evidence, *given),
            peer=method,
            equal="the compiled and the tensor version of the method",
            assert_equal=partial(assert_tensors_agree, *given),
        ),
        Comparison(
            name="filling alone",
            against="a plain Python breadth-first search, on the CPU",
            inputs=inputs,
            method=partial(prepare_filling, *given, peer=False),
            peer=partial(prepare_filling, *given, peer=True),
            equal="owners of all pixels",
            assert_equal=assert_equal_owners,
        ),
    ]


def draw_growth(args: argparse.Namespace, machine: str) -> None:
    """Time the method over instances and pixels."""

    def sweep(name: str, fixed: str, inputs: Sequence[tuple[tuple[int, int], int]]) -> growth.Sweep:
        described = [{"instances": count, "megapixels": size[0] * size[1] / 1e6} for size, count in inputs]
        return growth.Sweep(name, fixed, described, [partial(prepare_method, *each, args.device) for each in inputs])

    over_instances = [(args.size, instances) for instances in growth.INSTANCES]
    over_pixels = [(growth.make_size(megapixels), args.instances) for megapixels in growth.MEGAPIXELS]
    sweeps = [
        sweep("instances", f"{args.size[0] * args.size[1] / 1e6:.3g} megapixels", over_instances),
        sweep("megapixels", f"{args.instances} instances", over_pixels),
    ]
    growth.draw(args, machine, "Semantic-guided fusion, time of one image", sweeps)


def prepare_method(size: tuple[int, int], instances: int, device: str) -> Call:
    street = make_street(size, instances, winding=True)
    return partial(
        fuse_semantic_guided,
        street.labels.to(device),
        street.masks().to(device),
        street.thing_ids.to(device),
        street.scores.to(device),
        unified_table(),
    )


def prepare_evidence(size: tuple[int, int], instances: int, device: str) -> Call:
    street = make_street(size, instances, winding=True)
    confidences, categories = street.draw_confidences()
    return partial(
        fuse_by_evidence,
        SemanticEvidence(street.labels.to(device), confidences.to(device), categories.to(device), cell=4.0),
        street.masks().to(device),
        SoftMasks.from_soft(street.soft_masks.to(device), street.boxes.to(device), size),
        street.thing_ids.to(device),
        street.scores.to(device),
        unified_table(),
    )


@dataclass(frozen=True)
class MergeInputs:
    """Inputs of the score-order merges: labels in Detectron2's convention, and the same limit on stuff."""

    labels: torch.Tensor
    masks: BoxMasks
    street: Street
    stuff_area_limit: int


@cache
def merge_inputs(size: tuple[int, int], instances: int) -> MergeInputs:
    street = make_street(size, instances, winding=True)
    # Detectron2's 4096 pixels at 1024x2048, as the same share of the image.
    return MergeInputs(separated(street.labels), street.masks(), street, size[0] * size[1] // 512)


def prepare_detectron2(size: tuple[int, int], instances: int, device: str) -> Call:
    given = merge_inputs(size, instances)
    found = Instances(
        size, pred_masks=given.masks.full(), scores=given.street.scores, pred_classes=given.street.thing_ids
    )
    return partial(
        combine_semantic_and_instance_outputs,
        found.to(device),
        given.labels.to(device),
        OVERLAP_THRESHOLD,
        given.stuff_area_limit,
        SCORE_THRESHOLD,
    )


def prepare_panopticapi(size: tuple[int, int], instances: int, device: str) -> Call:
    """Prepare panopticapi's combination, which runs on the CPU whatever `device` is."""
    return RleCombination(merge_inputs(size, instances))


class RleCombination:
    """panopticapi's combination of one image; a call returns the folder of its map and its annotation."""

    def __init__(self, given: MergeInputs):
        self.folder = tempfile.TemporaryDirectory()
        table, street = separated_table(), given.street
        height, width = given.labels.shape
        order = street.scores.argsort(descending=True).tolist()
        rles, things = encode_masks(given.masks), street.thing_ids.tolist()
        kept = [i for i in order if street.scores[i] >= SCORE_THRESHOLD]
        stuff = [c for c in table.classes if not c.is_thing and (given.labels == c.semantic_id).any()]
        stuff_rles = encode_masks(BoxMasks.from_full(torch.stack([given.labels == c.semantic_id for c in stuff])))
        self.arguments: tuple[Any, ...] = (
            0,
            [IMAGE],
            {IMAGE: {"height": height, "width": width, "file_name": f"{IMAGE}.bmp"}},
            {IMAGE: [{"segmentation": rles[i], "category_id": table.things[things[i]].dataset_id} for i in kept]},
            {IMAGE: [{"segmentation": rle, "category_id": c.dataset_id} for rle, c in zip(stuff_rles, stuff)]},
            self.folder.name,
            OVERLAP_THRESHOLD,
            given.stuff_area_limit,
            {c.dataset_id: {"id": c.dataset_id, "isthing": int(c.is_thing), "color": c.color} for c in table.classes},
        )

    def __call__(self) -> RleResult:
        # It draws colors from numpy's global random state, and prints its progress.
        np.random.seed(SEED)
        with contextlib.redirect_stdout(io.StringIO()):
            (annotation,) = combine_to_panoptic_single_core(*self.arguments)
        return self.folder, annotation


def prepare_filling(size: tuple[int, int], instances: int, device: str, peer: bool) -> Call:
    owners, regions, _ = match_plainly(make_street(size, instances, winding=True), unified_table())
    if peer:
        return partial(_fill_plainly, owners, regions)
    return partial(grow_regions, torch.from_numpy(owners).to(device), torch.from_numpy(regions).to(device))


def _fill_plainly(owners: np.ndarray, regions: np.ndarray) -> np.ndarray:
    return grow_plainly(owners, regions)[0]


def assert_equal_to_detectron2(
    size: tuple[int, int],
    instances: int,
    device: str,
    method: SemanticGuidedResult,
    peer: tuple[torch.Tensor, list[dict[str, Any]]],
) -> None:
    """Assert that the method follows its rule, and that merge_by_score has the same segments as the peer."""
    assert_follows_rule(size, instances, method)
    ids, infos = peer
    assert_equal_merge(size, instances, ids.cpu().numpy(), {i["id"]: (i["isthing"], i["category_id"]) for i in infos})


def assert_tensors_agree(
    size: tuple[int, int], instances: int, device: str, method: SemanticGuidedResult, peer: object
) -> None:
    """Assert that the tensor version, on a pretended device, has the maps of the method."""
    with PretendDevice():
        tensors = prepare_evidence(size, instances, str(DEVICE))()
        for name in ("labels", "kept", "thing_ids"):
            assert torch.equal(getattr(tensors, name).cpu(), getattr(method, name).cpu()), name
        assert torch.equal(tensors.panoptic.ids.cpu(), method.panoptic.ids.cpu()), "panoptic ids"


def assert_equal_to_panopticapi(
    size: tuple[int, int], instances: int, device: str, method: SemanticGuidedResult, peer: RleResult
) -> None:
    """Assert the same as for Detectron2."""
    assert_follows_rule(size, instances, method)
    folder, annotation = peer
    with Image.open(Path(folder.name) / annotation["file_name"]) as image:
        ids = rgb2id(np.asarray(image))
    named = {info["id"]: separated_table().by_dataset_id[info["category_id"]] for info in annotation["segments_info"]}
    assert_equal_merge(size, instances, ids, {int(i): (c.is_thing, c.category_id) for i, c in named.items()})


def assert_follows_rule(size: tuple[int, int], instances: int, method: SemanticGuidedResult) -> None:
    ids, classes = fuse_plainly(make_street(size, instances, winding=True), unified_table())
    assert_same_segments(method.panoptic.ids, method.panoptic.segments_info, ids, classes)
    windows = list(method.masks.crops())
    for info in method.panoptic.segments_info:
        if info["isthing"]:
            window, mask = windows[info["instance_id"]]
            owned = method.panoptic.ids == info["id"]
            assert int(owned.sum()) == int(mask.sum()) and torch.equal(owned[window], mask), f"mask of {info}"
    # The pixels of a thing get the label of its class, all others keep theirs.
    table = unified_table()
    labels = make_street(size, instances, winding=True).labels.numpy().copy()
    for number, (is_thing, category_id) in classes.items():
        if is_thing:
            labels[ids == number] = table.thing_to_semantic[category_id]
    assert np.array_equal(method.labels.cpu().numpy(), labels), "refined labels"


def assert_equal_merge(size: tuple[int, int], instances: int, ids: np.ndarray, classes: Classes) -> None:
    given = merge_inputs(size, instances)
    merged = merge_by_score(
        given.labels,
        given.masks,
        given.street.thing_ids,
        given.street.scores,
        separated_table(),
        score_threshold=SCORE_THRESHOLD,
        overlap_threshold=OVERLAP_THRESHOLD,
        stuff_area_limit=given.stuff_area_limit,
    )
    assert_same_segments(merged.ids, merged.segments_info, ids, classes)


def assert_equal_owners(method: torch.Tensor, peer: np.ndarray) -> None:
    different = np.count_nonzero(method.cpu().numpy() != peer)
    assert not different, f"{different} pixels have another owner"
