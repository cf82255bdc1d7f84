#!/usr/bin/env python3
"""Propose groups of classes that a model confuses, for the subnets of a ConfusionGroupHead.

    python tools/confusion_groups.py output/base/inference/DATASET/sem_seg.npz --output output/groups.json
    python tools/confusion_groups.py before=output/base/inference/DATASET/sem_seg.npz --output output/groups.json \\
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
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tabulate import tabulate

from unified_seg.cli import ToolParser, run_tool
from unified_seg.data.io.file_system import write_atomically
from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import DataError
from unified_seg.heads.confusion_groups.matrix import compute_rates, read_confusion
from unified_seg.heads.confusion_groups.matrix_figure import draw_confusions
from unified_seg.heads.confusion_groups.proposal import ClassGroup, check_bounds, propose_groups


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
    try:
        check_bounds(args.max_size, args.max_groups, args.min_rate)
    except ValueError as error:
        parser.error(str(error))
    if args.picture.suffix != ".png":
        parser.error(f"--picture {args.picture}: the name must end in .png")
    read = {each.path.resolve() for each in (args.matrix, *args.after)}
    for path, times in Counter([args.output.resolve(), args.picture.resolve(), *read]).items():
        if times > 1:
            parser.error(f"{path} is named twice and would be overwritten")
    return args


def read_rates(sources: Sequence[Source]) -> tuple[list[np.ndarray], list[str]]:
    """Return `compute_rates` of each file and the names of the classes.

    Raises:
        DataError: a file has no confusion matrix, or one of other classes than the first.
    """
    rates: list[np.ndarray] = []
    names: list[str] = []
    for path, _ in sources:
        try:
            matrix, names = read_confusion(path, names)
        except ValueError as error:
            raise DataError(str(error)) from None
        try:
            rates.append(compute_rates(matrix))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
    return rates, names


def choose_titles(sources: Sequence[Source]) -> list[str]:
    """Return the given titles; a source without one gets the part of its path in which the paths differ."""
    parts = [path.parts for path, _ in sources]
    start, end = _count_shared(parts), _count_shared([each[::-1] for each in parts])
    return [title or "/".join(path.parts[start : len(path.parts) - end]) or str(path) for path, title in sources]


def _count_shared(parts: Sequence[Sequence[str]]) -> int:
    """Count the leading parts that all have in common."""
    return len(list(takewhile(lambda column: len(set(column)) == 1, zip(*parts))))


def explain_no_groups(rates: np.ndarray, min_rate: float) -> str:
    """Say why no groups were found."""
    if len(rates) == 2:
        return "there are only two classes, and at least one must stay outside a group"
    known = np.nan_to_num(rates)
    np.fill_diagonal(known, 0)
    highest = (known + known.T).max() / 2
    return f"no pair of classes has a confusion of --min-rate {min_rate:g} or more, the highest is {highest:.2g}"


def format_groups(groups: Sequence[ClassGroup], rates: np.ndarray, names: Sequence[str]) -> str:
    """Format the classes of each group, its confusion in percentage points, and its most confused pair."""
    rows = []
    for group in groups:
        inside = np.nan_to_num(rates[np.ix_(group.classes, group.classes)])
        np.fill_diagonal(inside, 0)
        true, predicted = np.unravel_index(inside.argmax(), inside.shape)
        pair = f"{names[group.classes[true]]} → {names[group.classes[predicted]]}, {100 * inside.max():.1f} %"
        rows.append((", ".join(names[label] for label in group.classes), f"{100 * group.confusion:.1f}", pair))
    headers = ["group", "confusion inside, points", "most confused pair"]
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=("left", "right", "left"))


def write(args: argparse.Namespace, groups: Sequence[Sequence[str]], picture: np.ndarray) -> None:
    """Write both files, each completely or not at all."""
    with write_atomically(args.picture) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
        write_json(args.output, {"MODEL": {"SEM_SEG_HEAD": {"CONFUSION_GROUPS": {"GROUPS": groups}}}})


def run(args: argparse.Namespace) -> None:
    sources = [args.matrix, *args.after]
    rates, names = read_rates(sources)
    groups = propose_groups(rates[0], max_size=args.max_size, max_groups=args.max_groups, min_rate=args.min_rate)
    if not groups:
        raise DataError(f"{args.matrix.path}: {explain_no_groups(rates[0], args.min_rate)}; nothing is written")
    group_names = [[names[label] for label in group.classes] for group in groups]
    if shared := [name for group in group_names for name in group if names.count(name) > 1]:
        raise DataError(f"{args.matrix.path}: several classes are named {shared[0]!r}; a config needs different names")
    picture = draw_confusions(list(zip(rates, choose_titles(sources))), names, [group.classes for group in groups])
    write(args, group_names, picture)
    print(format_groups(groups, rates[0], names))
    print(f"groups: {args.output} (list it under _BASE_ of a config); picture: {args.picture}")


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)), also=(OSError,))


if __name__ == "__main__":
    main()
