#!/usr/bin/env python3
"""Draw the images whose objects a fusion gets better than the merge by scores, and those that it gets worse.

    python projects/fusion_scheme/draw_object_changes.py --config-file configs/nuclei/unified.yaml \\
        --dataset unified_nuclei_val --fusion EvidenceFusion --top 3 --output output/object_changes \\
        --opts MODEL.WEIGHTS output/nuclei/model_final.pth

Both fusions get the same detections and the same semantic map. The measure of an image is the panoptic quality of all
its things together. The folder gets changes.csv (the quality of each image by both, the largest gain first), best.png
and worst.png; objects of the ground truth are green where the fusion's segment is closer to them, red where it is
farther off.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from shared import FUSION_KEY, InputsOfFusion, create_parser, fuse, load_panoptic_records, read_config
from tqdm import tqdm

from unified_seg.data.coco.panoptic_segments import GroundTruthSegment, read_segments
from unified_seg.data.io.image_files import read_picture
from unified_seg.data.problems import DataError
from unified_seg.evaluation.panoptic import pair_record
from unified_seg.fusion import PanopticFusion, build_panoptic_fusion
from unified_seg.inference import Predictor
from unified_seg.inference.images import make_writable
from unified_seg.ops.metrics.panoptic_quality import SegmentPairs
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.canvas import PaintedSegment, write_picture
from unified_seg.visualization.change_sheets import RecordChange, select_extremes, write_csv
from unified_seg.visualization.changes import BETTER, WORSE, PercentChange
from unified_seg.visualization.ground_truth_outputs import read_ground_truth
from unified_seg.visualization.overview import add_legend, draw_input
from unified_seg.visualization.panels import PANOPTIC_OPACITY, Panel, make_panels
from unified_seg.visualization.sheet import Picture, make_grid
from unified_seg_cli import run_tool

BASELINE = "ScoreOrderFusion"
ALIKE = (110, 110, 110)
#: Smaller changes of an object's IoU are those of single pixels.
SMALL_CHANGE = 0.02


class FusedImage(NamedTuple):
    """An image by the merge and by the fusion.

    Attributes:
        segments: of the ground truth.
        outputs: panoptic maps of both, as a model outputs them.
        pairs: their segments and those of the ground truth.
    """

    segments: list[GroundTruthSegment]
    outputs: list[dict[str, Any]]
    pairs: list[SegmentPairs]

    def measure(self, table: ClassTable) -> PercentChange:
        """Compute the panoptic quality of the things by both."""
        before, after = (compute_quality(pairs, table) for pairs in self.pairs)
        return PercentChange(before, after)


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = create_parser(__doc__)
    parser.add_argument(
        "--fusion", metavar="NAME", default="EvidenceFusion", help=f"of {FUSION_KEY}; default: EvidenceFusion"
    )
    parser.add_count("--top", "images on each sheet", default=3)
    return parser.parse_args(arguments)


def pair_outputs(record: dict[str, Any], outputs: list[dict[str, Any]], table: ClassTable) -> FusedImage:
    """Pair the segments of the two outputs for an image with those of its ground truth."""
    ids, segments = read_segments(record, table)
    return FusedImage(segments, outputs, [pair_record(record, output, table, ids, segments) for output in outputs])


def compute_quality(pairs: SegmentPairs, table: ClassTable) -> float:
    """Return the panoptic quality of all things together in percent; NaN without a thing."""
    is_thing = np.array([each.is_thing for each in table.classes])
    iou, tp, fp, fn = (counts[is_thing].sum() for counts in vars(pairs.count(len(table.classes))).values())
    return 100 * float(iou) / (tp + (fp + fn) / 2) if tp + fp + fn else math.nan


def draw(fused: FusedImage, found: RecordChange, table: ClassTable, fusion: str) -> tuple[Picture, list[Panel]]:
    """Draw a row of five pictures: the image, the ground truth, the merge, the fusion, and what changed.

    Returns:
        The row, and those of its panels whose colors are those of classes.
    """
    record, change = found
    image = read_picture(record["file_name"])
    truth = read_ground_truth(record, table)
    panels = [
        make_panels({"panoptic_seg": output["panoptic_seg"]}, table)["panoptic"].prefix(name)
        for name, output in zip(("ground truth", BASELINE, fusion), (truth, *fused.outputs))
    ]
    changed = make_change_panel(fused, truth["panoptic_seg"][0].numpy())
    pictures = [draw_input(image), *(panel.draw(image) for panel in (*panels, changed))]
    caption = (
        f"{record['image_id']}: PQ of things {change.before:.1f} by {BASELINE}, {change.after:.1f} by {fusion}, "
        f"{change.gain:+.1f}"
    )
    return Picture(make_grid(pictures, len(pictures)), caption), panels


def make_change_panel(fused: FusedImage, ids: np.ndarray) -> Panel:
    """Create a panel of the true objects in the color of their change; `ids` (H, W) are those of the ground truth."""
    before, after = (np.where(pairs.matched, pairs.iou, 0).max(axis=1, initial=0) for pairs in fused.pairs)
    segments, painted = [], np.zeros_like(ids, dtype=np.int32)
    closer = farther = 0
    for number, (segment, gain) in enumerate(zip(fused.segments, after - before), start=1):
        if segment.cls.is_thing:
            closer += gain > SMALL_CHANGE
            farther += gain < -SMALL_CHANGE
            color = BETTER if gain > SMALL_CHANGE else WORSE if gain < -SMALL_CHANGE else ALIKE
            segments.append(PaintedSegment(number, color, "", is_thing=True))
            painted[ids == segment.id] = number
    caption = f"true objects: {closer} closer (green), {farther} farther off (red)"
    return Panel(caption, painted, segments, PANOPTIC_OPACITY, hatch_void=False)


def predict(
    predictor: Predictor, fusions: Sequence[PanopticFusion], records: Sequence[dict[str, Any]], table: ClassTable
) -> Iterator[FusedImage]:
    """Yield each image by both fusions."""
    given = predictor.model.panoptic_fusion = InputsOfFusion()
    for record in records:
        predictor(predictor.read(record["file_name"]))
        inputs = (given.labels, given.instances, given.probabilities)
        maps = (fuse(fusion, *inputs)["panoptic_seg"] for fusion in fusions)
        yield pair_outputs(record, [{"panoptic_seg": (ids.cpu(), segments)} for ids, segments in maps], table)


def run(args: argparse.Namespace) -> None:
    make_writable(args.output)
    predictor = Predictor(read_config(args))
    records, table = load_panoptic_records(args.dataset, predictor)
    fusions = [build_panoptic_fusion(read_config(args, FUSION_KEY, name), table) for name in (BASELINE, args.fusion)]
    progress = tqdm(records, desc="predicting", unit="img", disable=None)
    fused_images = predict(predictor, fusions, progress, table)
    measured = [RecordChange(record, fused.measure(table)) for record, fused in zip(records, fused_images)]
    changes = sorted((each for each in measured if not math.isnan(each.change.gain)), key=lambda c: -c.change.gain)
    if not changes:
        raise DataError(f"{args.dataset}: no image has a thing, so there is nothing to compare")
    write_csv(args.output / "changes.csv", changes)
    for name, chosen in select_extremes(changes, args.top).items():
        # Predicted again: the maps of a whole data set may not fit into memory.
        fused_again = predict(predictor, fusions, [each.record for each in chosen], table)
        rows = [draw(fused, found, table, args.fusion) for fused, found in zip(fused_again, chosen)]
        sheet = make_grid([picture for picture, _ in rows], 1)
        panels = [panel for _, of_row in rows for panel in of_row]
        write_picture(args.output / f"{name}.png", add_legend(sheet, panels, table, "present"))
    gains = np.array([each.change.gain for each in changes])
    print(
        f"{len(changes)} of {len(records)} images: {(gains > 0).sum()} gain, {(gains < 0).sum()} lose, "
        f"mean change {gains.mean():+.2f} points; best {gains[0]:+.1f}, worst {gains[-1]:+.1f}: {args.output}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
