#!/usr/bin/env python3
"""Convert annotations to the formats that DATASETS.CUSTOM reads.

COCO instances and semantic PNGs of class ids, to COCO's panoptic format (panoptic.json and panoptic/*.png):

    python tools/convert_dataset.py panoptic --instances instances.json --semantic labels/ --classes classes.yaml \\
        --output converted/

Label images with a color for each class, to PNGs of class ids and classes.yaml:

    python tools/convert_dataset.py colors --input SegmentationClass/ --legend label_colors.txt --output labels/

Annotations of labelme, to one COCO instance JSON:

    python tools/convert_dataset.py labelme --input drawn/ --output instances.json

In the panoptic format, things come from the instances and stuff from the semantic maps. If instances overlap, the
smaller one is in front; crowds are behind all others, and all crowds of a class become one segment. Pixels of a thing
class in the semantic map without an instance are void. Everything that is left out is counted and reported.
`<command> --help` lists the options of a command.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from unified_seg.cli import ToolParser, run_tool
from unified_seg.data.conversion.colors_to_ids import convert_colors
from unified_seg.data.conversion.instances_to_panoptic import ORDERS, convert_to_panoptic
from unified_seg.data.conversion.labelme_to_instances import convert_labelme
from unified_seg.data.io.pixel_limit import DEFAULT_MAX_PIXELS, set_max_pixels


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{panoptic,colors,labelme}")
    add_panoptic(commands.add_parser("panoptic", help="convert instances and semantic maps to COCO's panoptic format"))
    add_colors(commands.add_parser("colors", help="convert color images to PNGs of class ids"))
    add_labelme(commands.add_parser("labelme", help="convert files of labelme to COCO's instance format"))
    return parser.parse_args(arguments)


def add_panoptic(parser: ToolParser) -> None:
    add = parser.add_argument
    add("--instances", type=Path, required=True, metavar="FILE", help="a COCO instance JSON")
    semantic = "PNGs of category ids with the names of the images; 255 is void, and so is 0 unless it is a category"
    add("--semantic", type=Path, required=True, metavar="FOLDER", help=semantic)
    classes = "YAML or JSON of all classes; default: the categories of --instances, which must include the stuff"
    add("--classes", type=Path, metavar="FILE", help=classes)
    add("--images", type=Path, metavar="FOLDER", help="check that the images exist in the size that the JSON gives")
    parser.add_output("the folder for panoptic.json and panoptic/")
    order = "which instance is in front: the smaller one (default), or the later one in the file"
    add("--order", choices=ORDERS, default="area", help=order)
    parser.add_workers()
    add_max_pixels(parser)


def add_colors(parser: ToolParser) -> None:
    add = parser.add_argument
    add("--input", type=Path, required=True, metavar="FOLDER", help="the label images, in subfolders too")
    legend = 'the classes: .txt ("r g b name" or CVAT\'s labelmap.txt), .csv (name, r, g, b) or .yaml (name, color)'
    add("--legend", type=Path, required=True, metavar="FILE", help=legend)
    parser.add_output("the folder for the PNGs and classes.yaml")
    add("--void", nargs="+", default=[], metavar="NAME", help="names in the legend that become void (255)")
    tolerance = "largest difference of a color channel, in [0, 255]; default: 0"
    add("--tolerance", type=channel_value, default=0, metavar="T", help=tolerance)
    unknown = "the id of pixels whose color is not in the legend, such as 255, void; default: such pixels are an error"
    add("--unknown", type=channel_value, metavar="ID", help=unknown)
    parser.add_workers()
    add_max_pixels(parser)


def add_labelme(parser: ToolParser) -> None:
    add = parser.add_argument
    add("--input", type=Path, required=True, metavar="FOLDER", help="the JSON files of labelme, in subfolders too")
    parser.add_output("the JSON file to write", metavar="FILE")
    add("--classes", type=Path, metavar="FILE", help="YAML or JSON of the classes; default: the labels that occur")
    images = "the folder of the images, IMAGES in DATASETS.CUSTOM; default: that of the JSON files"
    add("--images", type=Path, metavar="FOLDER", help=images)
    skip = "leave out and count shapes without an area: points, lines, line strips; default: they are an error"
    add("--skip-shapes", action="store_true", help=skip)
    parser.add_workers()
    add_max_pixels(parser)


def add_max_pixels(parser: ToolParser) -> None:
    parser.add_count("--max-pixels", "refuse images with more pixels", default=DEFAULT_MAX_PIXELS)


def channel_value(text: str) -> int:
    """Read a whole number in [0, 255]."""
    if not text.isdecimal() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"must be a whole number in [0, 255], got {text!r}")
    return int(text)


def run_panoptic(args: argparse.Namespace) -> None:
    made = convert_to_panoptic(
        args.instances,
        args.semantic,
        args.output,
        classes_file=args.classes,
        image_root=args.images,
        order=args.order,
        workers=args.workers,
    )
    print(f"{made.images} images, {made.segments} segments: {args.output / 'panoptic.json'}")
    if made.hidden:
        print(f"{made.hidden} instances without a visible pixel were left out")
    if made.uncovered:
        share = made.uncovered / made.pixels
        print(f"{made.uncovered} pixels ({share:.1%}) of thing classes without an instance are void")


def run_colors(args: argparse.Namespace) -> None:
    made = convert_colors(
        args.input,
        args.legend,
        args.output,
        void=args.void,
        tolerance=args.tolerance,
        unknown=args.unknown,
        workers=args.workers,
    )
    print(f"{made.files} label maps and classes.yaml: {args.output}")
    if made.unknown_pixels:
        share = made.unknown_pixels / made.pixels
        print(
            f"{made.unknown_pixels} pixels ({share:.1%}) with a color that is not in the legend became {args.unknown}, "
            f"in {made.unknown_files} files, first {made.first_unknown}"
        )


def run_labelme(args: argparse.Namespace) -> None:
    made = convert_labelme(
        args.input,
        args.output,
        classes_file=args.classes,
        image_root=args.images,
        skip_shapes=args.skip_shapes,
        workers=args.workers,
    )
    print(f"{made.images} images, {made.instances} instances of {made.classes} classes: {args.output}")
    if made.hidden:
        print(f"{made.hidden} instances without a pixel in their image were left out")
    if made.skipped:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(made.skipped.items()))
        print(f"{sum(made.skipped.values())} shapes without an area were left out: {kinds}")
    if made.ignored:
        print(f"{made.ignored} images have regions __ignore__: crowds of every class, neither right nor wrong")


COMMANDS = {"panoptic": run_panoptic, "colors": run_colors, "labelme": run_labelme}


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    set_max_pixels(args.max_pixels)
    run_tool(partial(COMMANDS[args.command], args), also=(OSError,))


if __name__ == "__main__":
    main()
