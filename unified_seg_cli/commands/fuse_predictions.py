"""Fuse the instance and semantic predictions of any models into panoptic predictions.

    unified-seg fuse --instances coco_instances_results.json --semantic semantic_pngs/ \\
        --images image_info.json --categories panoptic_categories.json --output fused/
    unified-seg fuse --instances ... --semantic ... --images ... --dataset unified_cityscapes_val \\
        --semantic-ids contiguous --output fused/ --refined-semantic refined/ --refined-instances refined.json

Inputs are a COCO result list (image_id, category_id, score, and segmentation as run lengths or polygons) and, for each
image, a PNG of class ids with the name of the image. Outputs are panoptic.json and the folder panoptic/ in COCO's
panoptic format and, optionally, semantic PNGs and instances as refined by the fusion. See docs/fusing_predictions.md.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command
from unified_seg_cli.types import fraction, positive_int

# The same as in `unified_seg.data.io.semantic_labels`; a test compares them.
ID_KINDS = ("dataset", "contiguous")
METHODS = ("semantic-guided", "evidence", "score-order")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    add = parser.add_argument
    add("--instances", type=Path, required=True, metavar="FILE", help="COCO instance results")
    add("--semantic", type=Path, required=True, metavar="FOLDER", help="semantic PNGs")
    add("--images", type=Path, required=True, metavar="FILE", help='a JSON with a COCO list "images"')
    classes = parser.add_mutually_exclusive_group(required=True)
    classes.add_argument("--dataset", metavar="NAME", help="a registered data set with these classes")
    classes.add_argument("--categories", type=Path, metavar="FILE", help="COCO panoptic categories")
    add("--use-supercategories", action="store_true", help="let classes of a supercategory exchange pixels")
    values = "values in the PNGs: category ids, or 0 .. K-1 in their order; 255 is void, and 0 unless it is a class"
    add("--semantic-ids", choices=ID_KINDS, default="dataset", help=values)
    parser.add_output("the folder for panoptic.json and panoptic/")
    add("--refined-semantic", type=Path, metavar="FOLDER", help="the folder for the refined semantic PNGs")
    add("--refined-instances", type=Path, metavar="FILE", help="the file for the refined instances")
    add("--method", choices=METHODS, default=METHODS[0], help="the fusion")
    confidences = (
        "probabilities for --method evidence: PNGs of 8 bits for the labels, or .npy (K, h, w) for all classes"
    )
    add("--confidences", type=Path, metavar="FOLDER", help=confidences)
    stride = "pixels of the image for each cell of the network that made the PNGs of --confidences; default: 4"
    add("--stride", type=positive_int, default=4, metavar="S", help=stride)
    for name, default, help in (
        ("--score-threshold", 0.5, "lowest score of an instance"),
        ("--overlap-threshold", 0.5, "largest fraction of an instance that better ones may cover"),
        ("--min-stuff-area", 0.002, "smallest area of a stuff class, as a fraction of the image"),
        ("--min-segment-area", 0.0005, "smallest area of a thing without a detection, as a fraction of the image"),
    ):
        add(name, type=fraction, default=default, metavar="F", help=f"{help}; default: {default}")
    connectivity = "neighbors of a pixel for paths and components in the semantic map; default: 4"
    add("--connectivity", type=int, choices=(4, 8), default=4, help=connectivity)
    parser.add_max_pixels()
    args = parser.parse_args(arguments)
    if args.use_supercategories and not args.categories:
        parser.error("--use-supercategories needs --categories; a registered data set has its own groups of classes")
    if args.method == "score-order" and (args.refined_semantic or args.refined_instances):
        parser.error("--refined-semantic and --refined-instances need --method semantic-guided or evidence")
    if args.confidences and args.method != "evidence":
        parser.error("--confidences needs --method evidence")
    folders = [args.semantic, args.confidences, args.output / "panoptic", args.refined_semantic]
    files = [args.instances, args.images, args.categories, args.output / "panoptic.json", args.refined_instances]
    for group in (folders, files):
        for path, times in Counter(path.resolve() for path in group if path is not None).items():
            if times > 1:
                parser.error(f"{path} is named twice and would be overwritten")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.fuse_predictions", parse_args(arguments), also=(OSError,))
