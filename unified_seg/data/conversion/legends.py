"""Legends: the class of each color of a label image."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unified_seg.data.coco.categories import CATEGORY_KEYS, build_class_table, find_categories
from unified_seg.data.io.text_files import read_text, read_yaml
from unified_seg.data.io.typed_records import Json, iterate_records
from unified_seg.data.problems import DataError, RecordError
from unified_seg.structures.class_table import IGNORE_LABEL, SegmentClass

Color = tuple[int, int, int]

# CamVid's label_colors.txt: red, green, blue, name.
CAMVID_LINE = re.compile(r"(\d+)\s+(\d+)\s+(\d+)\s+(.+)")
# CVAT's labelmap.txt: name:red,green,blue:parts:actions
# (https://docs.cvat.ai/docs/dataset_management/formats/format-smask).
CVAT_LINE = re.compile(r"(?P<name>.+?):(\d+),(\d+),(\d+):.*")


class Legend(NamedTuple):
    """The meaning of colors.

    Attributes:
        classes: those that are not void.
        values: the id of each color: that of its class, or IGNORE_LABEL for void.
    """

    classes: tuple[SegmentClass, ...]
    values: dict[Color, int]


def read_legend(path: Path, void: Sequence[str] = ()) -> Legend:
    """Return the classes and colors of a legend file.

    A class without an id gets its place in the file, from 0, void classes not counted.

    Args:
        path: .txt: lines "red green blue name", as CamVid's label_colors.txt, or "name:red,green,blue::", as CVAT's
            labelmap.txt; # starts a comment. .csv: with the columns name, r, g, b and perhaps id, isthing,
            supercategory. .yaml, .yml, .json: a list (by itself or as `categories`) of name, color and perhaps id,
            isthing, supercategory.
        void: names of classes that are void.

    Raises:
        DataError: not such a file, two classes of one name, id or color, ids outside of [0, 254], or a name of `void`
            that is not in the file.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise DataError(f"{path}: a legend must be a file of type {', '.join(READERS)}")
    records = [
        {key: record[key] for key in CATEGORY_KEYS if key in record}
        for _, record in iterate_records(path, READERS[suffix](path), "legend")
    ]
    if lacking := sorted(set(void) - {str(record.get("name")) for record in records}):
        raise DataError(f"{path}: no class has the name {', '.join(lacking)}, which should be void")
    if plain := [record for record in records if "color" not in record]:
        raise DataError(f"{path}: {plain[0].get('name')!r:.80} has no color")
    # Names and colors of void classes are checked too; their ids are not used.
    numbered = [{**record, "id": index} for index, record in enumerate(records)]
    everything = build_class_table(path, numbered, require_colors=True).classes
    _check_unique(path, everything)
    kept = [record for record in records if str(record["name"]) not in void]
    classes = build_class_table(
        path, [{"id": index, "isthing": 0, **record} for index, record in enumerate(kept)]
    ).classes
    if outside := [cls for cls in classes if not 0 <= cls.dataset_id < IGNORE_LABEL]:
        cls = outside[0]
        raise DataError(f"{path}: id of {cls.name} must be in [0, 254] (255 is void), got {cls.dataset_id}")
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


def _read_text_records(path: Path) -> list[Json]:
    records = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        if match := CAMVID_LINE.fullmatch(line):
            *color, name = match.groups()
        elif match := CVAT_LINE.fullmatch(line):
            name, *color = match.groups()
        else:
            raise DataError(
                f'{path}: line {number}: must be "red green blue name" or "name:red,green,blue::", got {line!r:.80}'
            )
        records.append({"name": name, "color": [int(value) for value in color]})
    return records


def _read_csv_records(path: Path) -> list[Json]:
    rows = csv.DictReader(read_text(path).splitlines(), skipinitialspace=True)
    try:
        columns = [str(name).strip().lower() for name in rows.fieldnames or ()]
    except csv.Error as error:  # a field longer than csv reads
        raise DataError(f"{path}: not a CSV legend: {error}") from None
    if not {"name", "r", "g", "b"} <= set(columns):
        raise DataError(f"{path}: the first line of a CSV legend must name the columns name, r, g, b; got {columns}")
    rows.fieldnames = columns
    records = []
    try:
        for row in rows:
            records.append(_convert_csv_row(row))
    except (csv.Error, RecordError) as error:
        raise DataError(f"{path}: line {rows.line_num}: {error}") from None
    return records


def _convert_csv_row(row: dict[str, Any]) -> Json:
    def read_number(column: str) -> int:
        try:
            return int(row[column])
        except (TypeError, ValueError):
            raise RecordError(f"{column} must be int, got {row[column]!r:.80}") from None

    record: Json = {"name": (row["name"] or "").strip(), "color": [read_number(channel) for channel in "rgb"]}
    record.update({key: read_number(key) for key in ("id", "isthing") if row.get(key)})
    return {**record, "supercategory": row["supercategory"]} if row.get("supercategory") else record


def _read_yaml_records(path: Path) -> Any:
    return find_categories(read_yaml(path))


# JSON is YAML.
READERS: dict[str, Callable[[Path], Any]] = {
    ".txt": _read_text_records,
    ".csv": _read_csv_records,
    ".yaml": _read_yaml_records,
    ".yml": _read_yaml_records,
    ".json": _read_yaml_records,
}
