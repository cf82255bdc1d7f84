"""Propose groups of classes that a model confuses, for the subnets of a ConfusionGroupHead.

    unified-seg groups output/base/inference/DATASET/sem_seg.npz --output output/groups.json
    unified-seg groups before=output/base/inference/DATASET/sem_seg.npz --output output/groups.json \\
        --max-groups 2 --after with_groups=output/groups/inference/DATASET/sem_seg.npz

The input is the confusion matrix that an evaluation wrote. Use an evaluation on held-out images: not those of the final
score, which would leak into the model, and not training images, on which a trained model confuses few classes.

The groups are printed and written as a piece of config with MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.GROUPS; list the file
under _BASE_ of a config. The picture shows the matrix ordered by group, with the groups outlined, and beside it the
matrices of the evaluations after --after.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from unified_seg_cli import ToolParser, run_command


class Source(NamedTuple):
    """A file with a confusion matrix and its title in the picture; "" for the part of its path that differs."""

    path: Path
    title: str


def parse_source(text: str) -> Source:
    """Read [TITLE=]FILE; the name of a file may contain "=" itself."""
    title, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        return Source(Path(text).expanduser(), "")
    return Source(Path(path).expanduser(), title)


def parse_output_file(text: str) -> Path:
    """Read the name of a file to write."""
    path = Path(text).expanduser()
    if path.exists() and not path.is_file():
        raise argparse.ArgumentTypeError(f"must be the name of a file, but {path} exists and is not a file")
    return path


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    add = parser.add_argument
    add("matrix", type=parse_source, metavar="[TITLE=]FILE", help="inference/<data set>/sem_seg.npz of an evaluation")
    output = "the file for the groups, JSON that a config can list under _BASE_"
    add("--output", type=parse_output_file, required=True, metavar="FILE", help=output)
    picture = "the file for the picture, a .png; default: the name of --output with .png"
    add("--picture", type=parse_output_file, metavar="FILE", help=picture)
    parser.add_count("--max-size", "largest number of classes in a group", default=6)
    parser.add_count("--max-groups", "largest number of groups; the most confused ones are kept", default=3)
    rate = "lowest confusion, the mean of both directions in (0, 1], of a pair of classes that joins two groups"
    add("--min-rate", type=float, default=0.02, metavar="F", help=f"{rate}; default: 0.02")
    after = "other evaluations of the same classes, to draw beside the first"
    add("--after", type=parse_source, nargs="+", default=[], metavar="[TITLE=]FILE", help=after)
    args = parser.parse_args(arguments)
    args.picture = args.picture or args.output.with_suffix(".png")
    if args.max_size < 2:
        parser.error(f"--max-size must be at least 2, got {args.max_size}")
    if not 0 < args.min_rate <= 1:
        parser.error(f"--min-rate must be in (0, 1], got {args.min_rate}")
    if args.picture.suffix != ".png":
        parser.error(f"--picture {args.picture}: the name must end in .png")
    read = {each.path.resolve() for each in (args.matrix, *args.after)}
    for path, times in Counter([args.output.resolve(), args.picture.resolve(), *read]).items():
        if times > 1:
            parser.error(f"{path} is named twice and would be overwritten")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.confusion_groups", parse_args(arguments), also=(OSError,))
