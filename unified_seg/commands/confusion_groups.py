"""Propose groups of confused classes, and draw them."""

import argparse
from collections.abc import Sequence
from itertools import takewhile

import numpy as np
from PIL import Image
from tabulate import tabulate

from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import DataError
from unified_seg.heads.confusion_groups.matrix import compute_rates, read_confusion
from unified_seg.heads.confusion_groups.matrix_figure import draw_confusions
from unified_seg.heads.confusion_groups.proposal import ClassGroup, propose_groups
from unified_seg_cli.commands.confusion_groups import Source
from unified_seg_files import escape_unprintable, write_atomically


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
    print(escape_unprintable(format_groups(groups, rates[0], names), keep="\n"))
    print(f"groups: {args.output} (list it under _BASE_ of a config); picture: {args.picture}")
