#!/usr/bin/env python3
"""Measure the IoU of masks before and after the fusions by the size of the object: which sizes gain?

    python projects/fusion_scheme/object_size.py --config-file projects/fusion_scheme/configs/toyscapes_unified.yaml \\
        --dataset unified_toyscapes_heldout --output output/object_size \\
        --opts MODEL.WEIGHTS output/fusion_scheme/toyscapes_unified/model_final.pth

The semantic-guided fusion cuts a mask to the pixels that the semantic map gives to its category, so it can only be as
good as that map; the fusion by evidence weighs both. Objects are things of the ground truth that are found by the box
of a detection (box IoU of 0.5 or more, score of the fusion's threshold or more, best score first), whatever its mask
and class; boxes are the same before and after. The folder gets object_size.json and object_size.png.
"""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, pairwise_iou
from tqdm import tqdm

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from shared import FUSION_KEY, FUSIONS, InputsOfFusion, create_parser, fuse, load_panoptic_records, read_config

from unified_seg.data.coco.panoptic_segments import read_segments
from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import DataError
from unified_seg.fusion import build_panoptic_fusion
from unified_seg.inference import Predictor
from unified_seg.inference.images import make_writable
from unified_seg.structures.class_table import ClassTable
from unified_seg_cli import run_tool

#: The merge by scores leaves masks as they are.
REFINING = {name: caption for name, caption in FUSIONS.items() if name != "ScoreOrderFusion"}
MATCH_IOU = 0.5
# Bounds of the ranges of sizes, in pixels: the square root of an object's area.
EDGES = (0, 8, 12, 16, 24, 32, 48, 64, np.inf)


class FoundObject(NamedTuple):
    """An object of the ground truth that a detection found.

    Attributes:
        side: square root of its area, in pixels.
        category: share of its pixels whose label is of its category.
        before: IoU of the detection's mask before a fusion.
        after: that after each of REFINING.
    """

    side: float
    category: float
    before: float
    after: tuple[float, ...]


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    return create_parser(__doc__).parse_args(arguments)


def find_objects(
    before: Mapping[str, Any],
    after: Sequence[Mapping[str, Any]],
    record: dict[str, Any],
    table: ClassTable,
    threshold: float,
) -> list[FoundObject]:
    """Return the found objects of one image.

    Args:
        before: the semantic map and the detections.
        after: the output of each fusion.
        record, table: of the image.
        threshold: the lowest score of a detection.
    """
    ids, segments = read_segments(record, table)
    things = [s for s in segments if s.cls.is_thing and not s.is_crowd]
    ground_truth = torch.from_numpy(np.array([ids == s.id for s in things], dtype=bool).reshape(-1, *ids.shape))
    detections: Instances = before["instances"].to("cpu")
    # The detections keep their order; instances that a fusion adds follow.
    all_masks = [each["instances"].to("cpu").pred_masks for each in (before, *after)]
    labels = before["sem_seg_labels"].cpu().numpy()
    objects = []
    for index, thing in match_boxes(BitMasks(ground_truth).get_bounding_boxes(), detections, threshold):
        mask = ground_truth[thing]
        iou, *refined = (compute_mask_iou(masks[index].full()[0], mask) for masks in all_masks)
        right = table.category_of[labels[mask.numpy()]] == table.category_of[things[thing].cls.semantic_id]
        objects.append(FoundObject(float(mask.sum()) ** 0.5, float(right.mean()), iou, tuple(refined)))
    return objects


def match_boxes(ground_truth: Boxes, detections: Instances, threshold: float) -> list[tuple[int, int]]:
    """Return pairs (index of the detection, index of the object), each index once, best score first."""
    iou = pairwise_iou(detections.pred_boxes, ground_truth)
    pairs = []
    for index in detections.scores.argsort(descending=True, stable=True).tolist():
        if detections.scores[index] < threshold or not len(ground_truth):
            break
        best = int(iou[index].argmax())
        if iou[index, best] >= MATCH_IOU:
            pairs.append((index, best))
            iou[:, best] = 0
    return pairs


def compute_mask_iou(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one & other).sum() / (one | other).sum())


def average_by_size(objects: Sequence[FoundObject]) -> list[dict[str, Any]]:
    """Return the means over the objects of each range of EDGES; ranges without an object are left out."""
    values = np.array([(each.side, each.category, each.before, *each.after) for each in objects])
    values = values.reshape(-1, 3 + len(REFINING))
    bins = []
    for low, high in itertools.pairwise(EDGES):
        chosen = values[(values[:, 0] >= low) & (values[:, 0] < high)]
        if len(chosen):
            side, category, before, *after = chosen.mean(axis=0).tolist()
            limits = {"from": low, "to": None if np.isinf(high) else high, "objects": len(chosen), "side": side}
            iou_after = dict(zip(REFINING, after, strict=True))
            bins.append({**limits, "category": category, "iou_before": before, "iou_after": iou_after})
    return bins


def draw_curves(bins: Sequence[dict[str, Any]], title: str, file: Path) -> None:
    figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
    sides = [b["side"] for b in bins]
    axis.plot(sides, [b["iou_before"] for b in bins], marker="o", label="mask IoU of the detections")
    for name, caption in REFINING.items():
        axis.plot(sides, [b["iou_after"][name] for b in bins], marker="o", label=f"after the {caption}")
    axis.plot(sides, [b["category"] for b in bins], "--", color="0.5", label="pixels labeled with the right category")
    axis.set_xscale("log", base=2)
    axis.set_xticks(sides, [f"{side:.0f}" for side in sides])
    axis.set_xlabel("side of the object, pixels (square root of its area)")
    axis.set_ylabel("mean over the found objects")
    axis.set_ylim(0, 1)
    axis.grid(color="0.9")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right")
    axis.set_title(title, fontsize=10)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def run(args: argparse.Namespace) -> None:
    cfg = read_config(args)
    make_writable(args.output)
    predictor = Predictor(cfg)
    records, table = load_panoptic_records(args.dataset, predictor)
    threshold = cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH
    given = predictor.model.panoptic_fusion = InputsOfFusion()
    fusions = [build_panoptic_fusion(read_config(args, FUSION_KEY, name), table) for name in REFINING]
    objects: list[FoundObject] = []
    for record in tqdm(records, desc="predicting", unit="img", disable=None):
        predictor(predictor.read(record["file_name"]))
        before = {"sem_seg_labels": given.labels, "instances": given.instances}
        after = [fuse(fusion, given.labels, given.instances, given.probabilities) for fusion in fusions]
        objects += find_objects(before, after, record, table, threshold)
    if not objects:
        raise DataError(f"{args.dataset}: the detector found no object; lower the score threshold")
    bins = average_by_size(objects)
    content = {"dataset": args.dataset, "config": str(args.config_file), "opts": args.opts, "sizes": bins}
    write_json(args.output / "object_size.json", content)
    draw_curves(bins, f"{len(objects)} objects of {args.dataset}", args.output / "object_size.png")
    for b in bins:
        after = ", ".join(f"{iou:.3f} by {REFINING[name]}" for name, iou in b["iou_after"].items())
        print(
            f"side {b['from']:>2} .. {b['to'] or '':<2} {b['objects']:5} objects: mask IoU {b['iou_before']:.3f}, "
            f"{after}; right category {b['category']:.3f}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
