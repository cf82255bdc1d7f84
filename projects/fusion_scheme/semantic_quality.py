#!/usr/bin/env python3
"""Score the fusions with semantic maps and detections of different quality: which quality do they need?

    python projects/fusion_scheme/semantic_quality.py --dataset unified_toyscapes_heldout \\
        --config-file projects/fusion_scheme/configs/toyscapes_unified.yaml --output output/semantic_quality \\
        --opts MODEL.WEIGHTS output/fusion_scheme/toyscapes_unified/model_final.pth

The maps are the predicted one, the ground truth, and the ground truth as a perfect head of stride 2, 4 and 8 could
predict it: its classes averaged over cells of that size, and upsampled bilinearly. What mask AP and PQ lose from one
stride to the next is lost to resolution alone. The score-order merge, which leaves masks unchanged, is scored on the
same maps. The fusion by evidence takes the averaged classes as probabilities. Each map is fused with the predicted
detections, and with those of a perfect detector: the true objects, with masks of 28x28. The folder gets
semantic_quality.json and semantic_quality.png.
"""

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from detectron2.layers import ROIAlign
from detectron2.structures import BitMasks, Boxes, Instances
from tabulate import tabulate
from torch.nn import functional as F
from tqdm import tqdm

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from shared import FUSION_KEY, FUSIONS, InputsOfFusion, create_parser, fuse, load_panoptic_records, read_config

from unified_seg.data.coco.panoptic_segments import read_segments
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.io.text_files import write_json
from unified_seg.evaluation.base import PerImageEvaluator
from unified_seg.evaluation.instances import InstanceEvaluator
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.fusion import Probabilities, build_panoptic_fusion
from unified_seg.inference import Predictor
from unified_seg.inference.images import make_writable
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitMap
from unified_seg.structures.soft_masks import SoftMasks
from unified_seg_cli import run_tool

STRIDES = (8, 4, 2, 1)
PREDICTED = "predicted"
PERFECT = "perfect"
DETECTIONS = (PREDICTED, PERFECT)
MASK_SIZE = 28  # of Mask R-CNN
SCORES = (("mIoU", "sem_seg", "mIoU"), ("mask AP", "segm", "AP"), ("PQ", "panoptic_seg", "PQ"))


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    return create_parser(__doc__).parse_args(arguments)


def coarsen(labels: torch.Tensor, stride: int, table: ClassTable) -> tuple[torch.Tensor, LogitMap]:
    """Return the (H, W) labels as a perfect head of this stride could predict them, and the shares of classes in cells.

    Void pixels, which aren't scored, have any class.
    """
    void = table.num_semantic
    one_hot = F.one_hot(torch.where(labels == table.ignore_label, void, labels).long(), void + 1)
    # Cells at the right and lower border average over their pixels inside the image.
    known = one_hot[..., :void].movedim(-1, 0)[None].float()
    shares = F.avg_pool2d(known, stride, ceil_mode=True, count_include_pad=False)[0]
    size = (labels.shape[0], labels.shape[1])
    tiny = torch.finfo(torch.float32).tiny
    logits = LogitMap.from_logits(shares.clamp(min=tiny).log(), stride, size)  # whose softmax are the shares
    return LogitMap.from_logits(shares, stride, size).labels(size), logits


def detect_perfectly(record: dict[str, Any], table: ClassTable) -> tuple[Instances, SoftMasks]:
    """Return the true objects of an image as a perfect detector would predict them: boxes, and masks of 28x28."""
    ids, segments = read_segments(record, table)
    things = [segment for segment in segments if segment.cls.is_thing and not segment.is_crowd]
    masks = torch.from_numpy(np.array([ids == thing.id for thing in things]).reshape(-1, *ids.shape))
    boxes = BitMasks(masks).get_bounding_boxes().tensor
    numbers = torch.arange(len(things), dtype=boxes.dtype)[:, None]
    soft = ROIAlign((MASK_SIZE, MASK_SIZE), 1.0, 0, aligned=True)(
        masks[:, None].float(), torch.cat([numbers, boxes], 1)
    )
    size = (record["height"], record["width"])
    instances = Instances(
        size,
        pred_boxes=Boxes(boxes),
        pred_classes=torch.tensor([thing.cls.thing_id for thing in things], dtype=torch.int64),
        scores=torch.ones(len(things)),
        pred_masks=BoxMasks.from_soft(soft[:, 0], boxes, size),
    )
    return instances, SoftMasks.from_soft(soft[:, 0], boxes, size)


def create_evaluators(table: ClassTable, records: list[dict[str, Any]], folder: str) -> list[PerImageEvaluator[Any]]:
    evaluators: list[PerImageEvaluator[Any]] = [
        kind(table, records, folder) for kind in (SemanticEvaluator, PanopticEvaluator, InstanceEvaluator)
    ]
    for evaluator in evaluators:
        evaluator.reset()
    return evaluators


def draw_curves(rows: Sequence[dict[str, Any]], title: str, file: Path) -> None:
    """Draw a plot per score and detections: its value over the maps, with a curve per fusion."""
    shape = (len(DETECTIONS), len(SCORES))
    figure, axes = plt.subplots(*shape, figsize=(11, 6.8), sharex=True, layout="constrained", squeeze=False)
    for row_of_axes, detections in zip(axes, DETECTIONS):
        for axis, (score, _, _) in zip(row_of_axes, SCORES):
            for name, caption in FUSIONS.items():
                shown = [row for row in rows if (row["detections"], row["fusion"]) == (detections, name)]
                axis.plot([row["map"] for row in shown], [row[score] for row in shown], marker="o", label=caption)
            axis.set_title(f"{score}, {detections} detections", fontsize=10)
            axis.tick_params("x", labelrotation=30)
            axis.grid(color="0.9")
            axis.spines[["top", "right"]].set_visible(False)
        row_of_axes[0].set_ylabel("percent")
    axes[1][0].legend(frameon=False, loc="lower right")
    figure.suptitle(title, fontsize=10)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def run(args: argparse.Namespace) -> None:
    make_writable(args.output)
    predictor = Predictor(read_config(args))
    given = predictor.model.panoptic_fusion = InputsOfFusion()
    records, table = load_panoptic_records(args.dataset, predictor)
    fusions = {name: build_panoptic_fusion(read_config(args, FUSION_KEY, name), table) for name in FUSIONS}
    maps = [PREDICTED, *(f"true, stride {stride}" for stride in STRIDES)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        kinds = itertools.product(DETECTIONS, maps, FUSIONS)
        scored = {kind: create_evaluators(table, records, folder) for kind in kinds}
        for record in tqdm(records, desc="fusing", unit="img", disable=None):
            predictor(predictor.read(record["file_name"]))
            ground_truth = torch.from_numpy(read_semantic_ground_truth(record, table)).to(given.labels.device)
            sources = [
                (given.labels, given.probabilities.semantic),
                *(coarsen(ground_truth, stride, table) for stride in STRIDES),
            ]
            detected = {
                PREDICTED: (given.instances, given.probabilities.masks),
                PERFECT: detect_perfectly(record, table),
            }
            for (detections, kind, name), each in scored.items():
                labels, logits = sources[maps.index(kind)]
                instances, masks = detected[detections]
                output = fuse(fusions[name], labels, instances, Probabilities(logits, masks))
                for evaluator in each:
                    evaluator.process([record], [output])
        for (detections, kind, name), each in scored.items():
            results = {task: scores for evaluator in each for task, scores in (evaluator.evaluate() or {}).items()}
            scores = {title: results[task][metric] for title, task, metric in SCORES}
            rows.append({"detections": detections, "map": kind, "fusion": name, **scores})
    content = {"dataset": args.dataset, "config": str(args.config_file), "opts": args.opts, "rows": rows}
    write_json(args.output / "semantic_quality.json", content)
    draw_curves(
        rows, f"by the semantic map that the fusion is given, on {args.dataset}", args.output / "semantic_quality.png"
    )
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
