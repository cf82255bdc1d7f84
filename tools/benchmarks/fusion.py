"""The semantic-guided fusion against other ways from a semantic map and instances to a panoptic map.

Ours matches, fills, and refines labels and masks; it takes masks cropped to their boxes. The peers merge by score:
Detectron2's combine_semantic_and_instance_outputs, from full masks, and panopticapi's combination of RLE masks, which
also writes its map to a file (as BMP here, so that no PNG compression is timed). The filling alone is compared with
a plain Python breadth-first search, in which the semantic map's things are regions.

With --growth FILE.png: ours alone, over the number of instances (which share the same part of the image) and over
pixels, as a plot and as JSON beside it.
"""

import argparse
import contextlib
import io
import tempfile
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
from unified_seg.fusion.region_growing import grow_regions
from unified_seg.fusion.score_order import merge_by_score
from unified_seg.fusion.semantic_guided import SemanticGuidedResult, fuse_semantic_guided
from unified_seg.structures.box_masks import BoxMasks

from . import growth
from .arguments import positive
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
from .streets import SEED, Street, make_street, separated, separated_table, unified_table

SIZE = (1024, 2048)
IMAGE = "street"
#: A folder that goes when the result goes.
RleResult = tuple[tempfile.TemporaryDirectory, dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instances", type=positive, default=40, metavar="N", help="default 40")
    parser.add_argument("--growth", type=Path, metavar="FILE.png", help="draw how the time grows there instead")


def comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Detectron2, panopticapi, and the filling alone."""
    given = (args.size, args.instances, args.device)
    street = make_street(args.size, args.instances, winding=True)
    owners, regions, _ = match_plainly(street, unified_table())
    filled, levels = grow_plainly(owners, regions)
    inputs = (
        f"a made street (seed {SEED}), {args.size[0]}x{args.size[1]}, 19 classes, {args.instances} instances, "
        f"{np.count_nonzero(filled != owners):,} pixels to fill over {levels:,} breadth-first levels"
    )
    ours = partial(prepare_ours, *given)
    equal = "ours with its rule in plain Python; our merge_by_score with the peer's segments"
    return [
        Comparison(
            name="fusion, semantic-guided",
            against="Detectron2's combine_semantic_and_instance_outputs on full masks",
            inputs=inputs,
            ours=ours,
            peer=partial(prepare_detectron2, *given),
            equal=equal,
            assert_equal=partial(assert_equal_to_detectron2, *given),
        ),
        Comparison(
            name="fusion, semantic-guided, RLE peer",
            against="panopticapi's combine_to_panoptic_single_core on RLE masks, on the CPU",
            inputs=inputs,
            ours=ours,
            peer=partial(prepare_panopticapi, *given),
            equal=equal,
            assert_equal=partial(assert_equal_to_panopticapi, *given),
        ),
        Comparison(
            name="filling alone",
            against="a plain Python breadth-first search, on the CPU",
            inputs=inputs,
            ours=partial(prepare_filling, *given, peer=False),
            peer=partial(prepare_filling, *given, peer=True),
            equal="owners of all pixels",
            assert_equal=assert_equal_owners,
        ),
    ]


def draw_growth(args: argparse.Namespace, machine: str) -> None:
    """Time ours over instances and pixels."""
    growth.draw(args, machine, lambda size, instances: prepare_ours(size, instances, args.device))


def prepare_ours(size: tuple[int, int], instances: int, device: str) -> Call:
    street = make_street(size, instances, winding=True)
    return partial(
        fuse_semantic_guided,
        street.labels.to(device),
        street.masks().to(device),
        street.thing_ids.to(device),
        street.scores.to(device),
        unified_table(),
    )


@dataclass(frozen=True)
class MergeInputs:
    """What the score-order merges take: labels in Detectron2's convention, the same limit on stuff."""

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
    """`device` is not read: panopticapi works on the CPU."""
    return RleCombination(merge_inputs(size, instances))


class RleCombination:
    """panopticapi's combination of one image; returns the folder of its map, and its description."""

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
        # It draws its colors by numpy's global state, and tells its progress.
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
    ours: SemanticGuidedResult,
    peer: tuple[torch.Tensor, list[dict[str, Any]]],
) -> None:
    """Ours follows its rule; where the methods are the same, in the score-order merge, the peer's segments are ours."""
    assert_follows_rule(size, instances, ours)
    ids, infos = peer
    assert_equal_merge(size, instances, ids.cpu().numpy(), {i["id"]: (i["isthing"], i["category_id"]) for i in infos})


def assert_equal_to_panopticapi(
    size: tuple[int, int], instances: int, device: str, ours: SemanticGuidedResult, peer: RleResult
) -> None:
    """As for Detectron2."""
    assert_follows_rule(size, instances, ours)
    folder, annotation = peer
    with Image.open(Path(folder.name) / annotation["file_name"]) as image:
        ids = rgb2id(np.asarray(image))
    named = {info["id"]: separated_table().by_dataset_id[info["category_id"]] for info in annotation["segments_info"]}
    assert_equal_merge(size, instances, ids, {int(i): (c.is_thing, c.category_id) for i, c in named.items()})


def assert_follows_rule(size: tuple[int, int], instances: int, ours: SemanticGuidedResult) -> None:
    ids, classes = fuse_plainly(make_street(size, instances, winding=True), unified_table())
    assert_same_segments(ours.panoptic.ids, ours.panoptic.segments_info, ids, classes)
    windows = list(ours.masks)
    for info in ours.panoptic.segments_info:
        if info["isthing"]:
            window, mask = windows[info["instance_id"]]
            owned = ours.panoptic.ids == info["id"]
            assert int(owned.sum()) == int(mask.sum()) and torch.equal(owned[window], mask), f"mask of {info}"
    # A thing's pixels are labeled as its class, all others as they were.
    table = unified_table()
    labels = make_street(size, instances, winding=True).labels.numpy().copy()
    for number, (is_thing, category_id) in classes.items():
        if is_thing:
            labels[ids == number] = table.thing_to_semantic[category_id]
    assert np.array_equal(ours.labels.cpu().numpy(), labels), "refined labels"


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


def assert_equal_owners(ours: torch.Tensor, peer: np.ndarray) -> None:
    different = np.count_nonzero(ours.cpu().numpy() != peer)
    assert not different, f"{different} pixels have another owner"
