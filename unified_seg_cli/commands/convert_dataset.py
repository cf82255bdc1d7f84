"""Convert annotations to the formats that DATASETS.CUSTOM reads.

COCO instances and semantic PNGs of class ids, to COCO's panoptic format (panoptic.json and panoptic/*.png):

    unified-seg convert panoptic --instances instances.json --semantic labels/ --classes classes.yaml \\
        --output converted/

Label images with a color for each class, to PNGs of class ids and classes.yaml:

    unified-seg convert colors --input SegmentationClass/ --legend label_colors.txt --output labels/

Annotations of labelme, to one COCO instance JSON; or, with stuff, to a folder of panoptic, semantic and instance files,
classes.yaml and config.yaml, with which a training can start, in two splits if that is wanted:

    unified-seg convert labelme --input drawn/ --output instances.json
    unified-seg convert labelme --input drawn/ --classes classes.yaml --val-share 0.2 --output converted/

In the panoptic format, things come from the instances and stuff from the semantic maps. If instances overlap, the
smaller one is in front; crowds are behind all others, and all crowds of a class become one segment. Pixels of a thing
class in the semantic map without an instance are void. Everything that is left out is counted and reported.
`<command> --help` lists the options of a command.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command

# The same as in `unified_seg.data.conversion.instances_to_panoptic`; a test compares them.
ORDERS = ("area", "file")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{panoptic,colors,labelme}")
    add_panoptic(commands.add_parser("panoptic", help="convert instances and semantic maps to COCO's panoptic format"))
    add_colors(commands.add_parser("colors", help="convert color images to PNGs of class ids"))
    add_labelme(commands.add_parser("labelme", help="convert files of labelme to COCO's instance or panoptic format"))
    args = parser.parse_args(arguments)
    if args.command == "labelme" and args.output.suffix == ".json" and (args.stuff or args.val_share):
        parser.error("--stuff and --val-share need a folder as --output, not a .json file")
    return args


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
    parser.add_max_pixels()


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
    parser.add_max_pixels()


def add_labelme(parser: ToolParser) -> None:
    add = parser.add_argument
    add("--input", type=Path, required=True, metavar="FOLDER", help="the JSON files of labelme, in subfolders too")
    parser.add_output("the JSON file of instances to write (.json); or a folder, for things and stuff", metavar="PATH")
    add("--classes", type=Path, metavar="FILE", help="YAML or JSON of the classes; default: the labels that occur")
    stuff = "without --classes, the labels that are stuff; the others are things. With a folder as --output"
    add("--stuff", nargs="+", default=[], metavar="LABEL", help=stuff)
    share = (
        "about this share of the images becomes a split of its own, for validation: the names end in _train and _val. "
        "The name of an image decides, so that it stays where it is when more are labeled. With a folder as --output"
    )
    add("--val-share", type=share_value, default=0.0, metavar="SHARE", help=share)
    images = "the folder of the images, IMAGES in DATASETS.CUSTOM; default: that of the JSON files"
    add("--images", type=Path, metavar="FOLDER", help=images)
    skip = "leave out and count shapes without an area: points, lines, line strips; default: they are an error"
    add("--skip-shapes", action="store_true", help=skip)
    parser.add_workers()
    parser.add_max_pixels()


def share_value(text: str) -> float:
    """Read a number in (0, 1)."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a number in (0, 1), got {text!r}")
    return value


def channel_value(text: str) -> int:
    """Read a whole number in [0, 255]."""
    if not text.isdecimal() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"must be a whole number in [0, 255], got {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.convert_dataset", parse_args(arguments), also=(OSError,))
