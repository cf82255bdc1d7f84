#!/usr/bin/env python3
"""Convert annotations to what DATASETS.CUSTOM reads.

COCO instances and semantic PNGs of class ids, to COCO's panoptic format (panoptic.json and panoptic/*.png):

    python tools/convert_dataset.py panoptic --instances instances.json --semantic labels/ --classes classes.yaml \\
        --output converted/

Label pictures whose colors are classes, to PNGs of class ids and classes.yaml:

    python tools/convert_dataset.py colors --input SegmentationClass/ --legend label_colors.txt --output labels/

What was drawn with labelme, to one COCO instance JSON:

    python tools/convert_dataset.py labelme --input drawn/ --output instances.json

Things of the panoptic format come from the instances, stuff from the semantic maps. Where instances overlap, the
smaller one is in front; crowds are behind all others, and those of a class become one segment. What the semantic map
calls a thing and no instance covers is void. What finds no place is counted and told. `<command> --help` has the
options.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from unified_seg.data.conversion.colors_to_ids import convert_colors
from unified_seg.data.conversion.instances_to_panoptic import ORDERS, convert_to_panoptic
from unified_seg.data.conversion.labelme_to_instances import convert_labelme
from unified_seg.data.problems import DataError


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{panoptic,colors,labelme}")
    cpus, workers = os.cpu_count() or 1, "processes (default: one for each CPU)"

    add = commands.add_parser("panoptic", help="instances and semantic maps to COCO's panoptic format").add_argument
    add("--instances", type=Path, required=True, metavar="FILE", help="COCO's instance JSON")
    semantic = "PNGs of category ids, named as the images; 255 is void, and 0 if it is no category's"
    add("--semantic", type=Path, required=True, metavar="FOLDER", help=semantic)
    classes = "YAML or JSON of all classes; left out: the categories of --instances, which must have stuff then"
    add("--classes", type=Path, metavar="FILE", help=classes)
    add("--images", type=Path, metavar="FOLDER", help="check that the images are here, in the size that the JSON says")
    add("--output", type=Path, required=True, metavar="FOLDER", help="gets panoptic.json and panoptic/")
    order = "what is in front: the smaller instance (default), or the later one of the file"
    add("--order", choices=ORDERS, default="area", help=order)
    add("--workers", type=int, default=cpus, metavar="N", help=workers)

    add = commands.add_parser("colors", help="color pictures to PNGs of class ids").add_argument
    add("--input", type=Path, required=True, metavar="FOLDER", help="the pictures, sub-folders included")
    legend = '.txt ("r g b name" or CVAT\'s labelmap.txt), .csv (name, r, g, b) or .yaml (name, color) of the classes'
    add("--legend", type=Path, required=True, metavar="FILE", help=legend)
    add("--output", type=Path, required=True, metavar="FOLDER", help="gets the PNGs and classes.yaml")
    add("--void", nargs="+", default=[], metavar="NAME", help="of the legend, what is no class but void (255)")
    add("--tolerance", type=int, default=0, metavar="T", help="largest difference of a channel (default: 0)")
    unknown = "the id of colors that the legend lacks, such as 255, void (default: they are an error)"
    add("--unknown", type=int, metavar="ID", help=unknown)
    add("--workers", type=int, default=cpus, metavar="N", help=workers)

    add = commands.add_parser("labelme", help="labelme's files to COCO's instance format").add_argument
    add("--input", type=Path, required=True, metavar="FOLDER", help="labelme's JSONs, sub-folders included")
    add("--output", type=Path, required=True, metavar="FILE", help="the JSON to write")
    add("--classes", type=Path, metavar="FILE", help="YAML or JSON of the classes; left out: the labels that occur")
    add("--workers", type=int, default=cpus, metavar="N", help=workers)

    args = parser.parse_args(arguments)
    if args.workers < 1:
        parser.error(f"--workers {args.workers}: at least one process")
    if args.command == "colors" and not 0 <= args.tolerance <= 255:
        parser.error(f"--tolerance {args.tolerance}: 0 to 255")
    if args.command == "colors" and args.unknown is not None and not 0 <= args.unknown <= 255:
        parser.error(f"--unknown {args.unknown}: 0 to 255")
    return args


def panoptic(args: argparse.Namespace) -> None:
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
        print(f"{made.uncovered} pixels ({share:.1%}) of things in the semantic maps that no instance covers are void")


def colors(args: argparse.Namespace) -> None:
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
        print(
            f"{made.unknown_pixels} pixels ({made.unknown_pixels / made.pixels:.1%}) in colors that the legend lacks "
            f"became {args.unknown}, in {made.unknown_files} files, first {made.first_unknown}"
        )


def labelme(args: argparse.Namespace) -> None:
    made = convert_labelme(args.input, args.output, classes_file=args.classes, workers=args.workers)
    print(f"{made.images} images, {made.instances} instances of {made.classes} classes: {args.output}")
    if made.hidden:
        print(f"{made.hidden} instances without a pixel in their image were left out")


COMMANDS = {"panoptic": panoptic, "colors": colors, "labelme": labelme}


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    try:
        COMMANDS[args.command](args)
    except (DataError, OSError) as error:
        # What a user can mend, without a traceback; OSError: a full disk, a folder that may not be written to.
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
