"""Convert annotations, and say what was left out."""

import argparse
from collections.abc import Mapping

from unified_seg.data.conversion.colors_to_ids import convert_colors
from unified_seg.data.conversion.instances_to_panoptic import convert_to_panoptic
from unified_seg.data.conversion.labelme_to_instances import convert_labelme
from unified_seg.data.conversion.labelme_to_panoptic import convert_labelme_to_panoptic
from unified_seg.data.io.open_image import set_max_pixels
from unified_seg.hints import format_hint


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
    if args.output.suffix == ".json":
        run_labelme_instances(args)
    else:
        run_labelme_panoptic(args)


def run_labelme_panoptic(args: argparse.Namespace) -> None:
    made = convert_labelme_to_panoptic(
        args.input,
        args.output,
        classes_file=args.classes,
        stuff=args.stuff,
        image_root=args.images,
        val_share=args.val_share,
        skip_shapes=args.skip_shapes,
        workers=args.workers,
    )
    images = ", ".join(f"{count} images {split}".strip() for split, count in made.images.items())
    print(f"{images}, {made.segments} segments: {args.output}")
    if made.hidden:
        print(f"{made.hidden} instances without a visible pixel were left out")
    if made.void:
        print(f"{made.void:.1%} of the pixels are in no shape: void")
    print_skipped(made.skipped)
    if made.config:
        print(f"to train on them: {format_hint('unified-seg', 'train', '--config-file', made.config)}")


def print_skipped(skipped: Mapping[str, int]) -> None:
    """Print how many shapes without an area were left out, by type."""
    if skipped:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
        print(f"{sum(skipped.values())} shapes without an area were left out: {kinds}")


def run_labelme_instances(args: argparse.Namespace) -> None:
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
    print_skipped(made.skipped)
    if made.ignored:
        print(f"{made.ignored} images have regions __ignore__: crowds of every class, neither right nor wrong")


COMMANDS = {"panoptic": run_panoptic, "colors": run_colors, "labelme": run_labelme}


def run(args: argparse.Namespace) -> None:
    set_max_pixels(args.max_pixels)
    COMMANDS[args.command](args)
