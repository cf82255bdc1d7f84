#!/usr/bin/env python3
"""Propose groups of classes that a model mistakes for each other, for the subnets of a ConfusionGroupHead.

    python tools/confusion_groups.py output/base/inference/DATASET/sem_seg.npz --output output/groups.json
    python tools/confusion_groups.py before=output/base/inference/DATASET/sem_seg.npz --output output/groups.json \\
        --max-groups 2 --after with_groups=output/groups/inference/DATASET/sem_seg.npz

It reads the confusion matrix that an evaluation saved. Let that be an evaluation on held-out images, neither trained on
nor used for the final score: groups chosen on the images of the final score leak them into the model, and on images
that were trained on there is hardly any confusion left.

The groups are printed and written as a piece of config, MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.GROUPS: name the file under
_BASE_ of a config. A picture shows the matrix, ordered by group, with the groups outlined; with --after those of other
evaluations beside it.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tabulate import tabulate

from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import DataError
from unified_seg.heads.confusion_groups.matrix_figure import draw_confusions
from unified_seg.heads.confusion_groups.matrix_file import read_confusion
from unified_seg.heads.confusion_groups.proposal import ClassGroup, check_bounds, confusion_rates, propose_groups


class Source(NamedTuple):
    """A file with a confusion matrix, and what to call it on the picture; "" for a part of its path."""

    path: Path
    title: str


def source(text: str) -> Source:
    """[TITLE=]FILE; the name of a file may hold a = of its own."""
    title, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        return Source(Path(text).expanduser(), "")
    return Source(Path(path).expanduser(), title)


def file_to_write(text: str) -> Path:
    path = Path(text).expanduser()
    if path.exists() and not path.is_file():
        raise argparse.ArgumentTypeError(f"{path} is there, and no file")
    return path


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("matrix", type=source, metavar="[TITLE=]FILE", help="inference/<data set>/sem_seg.npz of an evaluation")
    gets = "gets the groups, as JSON that a config can name"
    add("--output", type=file_to_write, required=True, metavar="FILE", help=gets)
    add("--picture", type=file_to_write, metavar="FILE", help="gets the picture, a .png; default: beside --output")
    add("--max-size", type=int, default=6, metavar="N", help="classes of a group, at most; default: 6")
    add("--max-groups", type=int, default=3, metavar="N", help="the most confused groups, at most N; default: 3")
    rate = "a pair of classes joins groups if the mean of the two shares that are taken for the other is F or more"
    add("--min-rate", type=float, default=0.02, metavar="F", help=f"{rate}; default: 0.02")
    after = "other evaluations, of the same classes, to draw beside it"
    add("--after", type=source, nargs="+", default=[], metavar="[TITLE=]FILE", help=after)
    args = parser.parse_args(arguments)
    args.picture = args.picture or args.output.with_suffix(".png")
    try:
        check_bounds(args.max_size, args.max_groups, args.min_rate)
    except ValueError as error:
        parser.error(str(error))
    if args.picture.suffix != ".png":
        parser.error(f"--picture {args.picture}: its name must end in .png")
    read = {each.path.resolve() for each in (args.matrix, *args.after)}
    for path, times in Counter([args.output.resolve(), args.picture.resolve(), *read]).items():
        if times > 1:
            parser.error(f"{path} is named twice and would be written over")
    return args


def read_rates(sources: Sequence[Source]) -> tuple[list[np.ndarray], list[str]]:
    """`confusion_rates` of each file, and the names of the classes, which are those of the first.

    Raises:
        DataError: a file without a confusion matrix, or with one of other classes.
    """
    rates: list[np.ndarray] = []
    names: list[str] = []
    for path, _ in sources:
        try:
            matrix, names = read_confusion(path, names)
        except ValueError as error:
            raise DataError(str(error)) from None
        try:
            rates.append(confusion_rates(matrix))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
    return rates, names


def titles_of(sources: Sequence[Source]) -> list[str]:
    """Of each what it was given, or else the part of its path in which the paths differ."""
    parts = [path.parts for path, _ in sources]
    start, end = _count_shared(parts), _count_shared([each[::-1] for each in parts])
    return [title or "/".join(path.parts[start : len(path.parts) - end]) or str(path) for path, title in sources]


def _count_shared(parts: Sequence[Sequence[str]]) -> int:
    """How many leading parts all have in common."""
    return len(list(takewhile(lambda column: len(set(column)) == 1, zip(*parts))))


def why_no_groups(rates: np.ndarray, min_rate: float) -> str:
    if len(rates) == 2:
        return "a group of its two classes would leave none to be the others"
    known = np.nan_to_num(rates)
    np.fill_diagonal(known, 0)
    highest = (known + known.T).max() / 2
    return f"no two classes are confused at a rate of --min-rate {min_rate:g} or more, the highest is {highest:.2g}"


def group_table(groups: Sequence[ClassGroup], rates: np.ndarray, names: Sequence[str]) -> str:
    """Of each group its classes, its confusion in percent points, and the pair that is confused most often."""
    rows = []
    for group in groups:
        inside = np.nan_to_num(rates[np.ix_(group.classes, group.classes)])
        np.fill_diagonal(inside, 0)
        true, predicted = np.unravel_index(inside.argmax(), inside.shape)
        pair = f"{names[group.classes[true]]} → {names[group.classes[predicted]]}, {100 * inside.max():.1f} %"
        rows.append((", ".join(names[label] for label in group.classes), f"{100 * group.confusion:.1f}", pair))
    headers = ["group", "confusion inside, points", "most often"]
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=("left", "right", "left"))


def write(args: argparse.Namespace, groups: Sequence[Sequence[str]], picture: np.ndarray) -> None:
    """Both files, each whole or not at all."""
    try:
        args.picture.parent.mkdir(parents=True, exist_ok=True)
        temporary = args.picture.with_name(f".{os.getpid()}.{args.picture.name}")
        try:
            Image.fromarray(picture).save(temporary)
            write_json(args.output, {"MODEL": {"SEM_SEG_HEAD": {"CONFUSION_GROUPS": {"GROUPS": groups}}}})
            temporary.replace(args.picture)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{args.output} and {args.picture} can't be written: {error}") from None


def run(args: argparse.Namespace) -> None:
    sources = [args.matrix, *args.after]
    rates, names = read_rates(sources)
    groups = propose_groups(rates[0], max_size=args.max_size, max_groups=args.max_groups, min_rate=args.min_rate)
    if not groups:
        raise DataError(f"{args.matrix.path}: {why_no_groups(rates[0], args.min_rate)}; nothing is written")
    group_names = [[names[label] for label in group.classes] for group in groups]
    if shared := [name for group in group_names for name in group if names.count(name) > 1]:
        raise DataError(
            f"{args.matrix.path}: {shared[0]!r} is the name of several classes, and a config knows them by their names"
        )
    picture = draw_confusions(list(zip(rates, titles_of(sources))), names, [group.classes for group in groups])
    write(args, group_names, picture)
    print(group_table(groups, rates[0], names))
    print(f"written to {args.output}, to name under _BASE_ of a config, and drawn in {args.picture}")


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        run(parse_args(arguments))
    except DataError as error:
        # What a user can mend, without a traceback.
        sys.exit(f"DataError: {error}")


if __name__ == "__main__":
    main()
