"""Legends: which color of a label picture means which class."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unified_seg.data.coco.categories import CATEGORY_KEYS, build_class_table, find_categories
from unified_seg.data.io.text_files import read_yaml
from unified_seg.data.io.typed_records import Json, iterate_records
from unified_seg.data.problems import DataError, MissingFileError, RecordError
from unified_seg.structures.class_table import IGNORE_LABEL, SegmentClass

Color = tuple[int, int, int]

# CamVid's label_colors.txt: red, green, blue, name.
CAMVID_LINE = re.compile(r"(\d+)\s+(\d+)\s+(\d+)\s+(.+)")
# CVAT's labelmap.txt: name:red,green,blue:parts:actions
# (https://docs.cvat.ai/docs/dataset_management/formats/format-smask).
CVAT_LINE = re.compile(r"(?P<name>.+?):(\d+),(\d+),(\d+):.*")


class Legend(NamedTuple):
    """What colors mean.

    Attributes:
        classes: those that are labeled.
        values: the value that each color gets in a map of ids: its class's id, or IGNORE_LABEL for void.
    """

    classes: tuple[SegmentClass, ...]
    values: dict[Color, int]


def read_legend(path: Path, void: Sequence[str] = ()) -> Legend:
    """The classes and colors of a file.

    A class without an id has its place in the file, from 0, as its id; those that are void are not counted.

    Args:
        path: .txt: lines "red green blue name", as CamVid's label_colors.txt, or "name:red,green,blue::", as CVAT's
            labelmap.txt; # starts a comment. .csv: with the columns name, r, g, b and perhaps id, isthing,
            supercategory. .yaml, .yml, .json: a list (by itself or as `categories`) of name, color and perhaps id,
            isthing, supercategory.
        void: names whose colors mean void.

    Raises:
        DataError: not such a file, two classes of one name, id or color, ids beyond 0 .. 254, or void names that
            aren't in it.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise DataError(f"{path}: a legend is a {', '.join(READERS)} file")
    records = [
        {key: record[key] for key in CATEGORY_KEYS if key in record}
        for _, record in iterate_records(path, READERS[suffix](path), "legend")
    ]
    if lacking := sorted(set(void) - {str(record.get("name")) for record in records}):
        raise DataError(f"{path}: no class of the name {', '.join(lacking)}, which should be void")
    if plain := [record for record in records if "color" not in record]:
        raise DataError(f"{path}: {plain[0].get('name')!r:.80} has no color")
    # Names and colors are checked of void too, whose ids are nobody's.
    everything = build_class_table(path, [{**record, "id": index} for index, record in enumerate(records)]).classes
    _check_unique(path, everything)
    kept = [record for record in records if record["name"] not in void]
    classes = build_class_table(
        path, [{"id": index, "isthing": 0, **record} for index, record in enumerate(kept)]
    ).classes
    if outside := [cls for cls in classes if not 0 <= cls.dataset_id < IGNORE_LABEL]:
        cls = outside[0]
        raise DataError(f"{path}: {cls.name} has the id {cls.dataset_id}; 8 bits hold 0 .. 254, and 255 for void")
    values = {cls.color: IGNORE_LABEL for cls in everything}
    return Legend(classes, {**values, **{cls.color: cls.dataset_id for cls in classes}})


def _check_unique(path: Path, classes: Sequence[SegmentClass]) -> None:
    names: set[str] = set()
    colors: dict[Color, str] = {}
    for cls in classes:
        if cls.name in names:
            raise DataError(f"{path}: two classes have the name {cls.name}")
        if cls.color in colors:
            raise DataError(f"{path}: {colors[cls.color]} and {cls.name} both have the color {cls.color}")
        names.add(cls.name)
        colors[cls.color] = cls.name


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()  # Excel puts a mark in front of its CSV files
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as text: {error}") from None


def _text_records(path: Path) -> list[Json]:
    records = []
    for number, line in enumerate(_lines(path), start=1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        if match := CAMVID_LINE.fullmatch(line):
            *color, name = match.groups()
        elif match := CVAT_LINE.fullmatch(line):
            name, *color = match.groups()
        else:
            raise DataError(f'{path}: line {number}: {line!r:.80} is neither "red green blue name" nor CVAT\'s form')
        records.append({"name": name, "color": [int(value) for value in color]})
    return records


def _csv_records(path: Path) -> list[Json]:
    rows = csv.DictReader(_lines(path), skipinitialspace=True)
    columns = [str(name).strip().lower() for name in rows.fieldnames or ()]
    if not {"name", "r", "g", "b"} <= set(columns):
        raise DataError(f"{path}: the first line of a CSV legend names its columns: name, r, g, b; got {columns}")
    rows.fieldnames = columns
    records = []
    try:
        for row in rows:
            records.append(_csv_record(row))
    except (csv.Error, RecordError) as error:
        raise DataError(f"{path}: line {rows.line_num}: {error}") from None
    return records


def _csv_record(row: dict[str, Any]) -> Json:
    def number(column: str) -> int:
        try:
            return int(row[column])
        except (TypeError, ValueError):
            raise RecordError(f"{column} must be a whole number, got {row[column]!r:.80}") from None

    record: Json = {"name": (row["name"] or "").strip(), "color": [number(channel) for channel in "rgb"]}
    record.update({key: number(key) for key in ("id", "isthing") if row.get(key)})
    return {**record, "supercategory": row["supercategory"]} if row.get("supercategory") else record


def _yaml_records(path: Path) -> Any:
    return find_categories(read_yaml(path))


# JSON is YAML.
READERS: dict[str, Callable[[Path], Any]] = {
    ".txt": _text_records,
    ".csv": _csv_records,
    ".yaml": _yaml_records,
    ".yml": _yaml_records,
    ".json": _yaml_records,
}
