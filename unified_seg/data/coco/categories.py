"""COCO's categories as a class table, and back."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from detectron2.utils.colormap import colormap
from detectron2.utils.logger import log_first_n
from msgspec import Struct

from unified_seg.data.io.text_files import read_json, read_yaml
from unified_seg.data.io.typed_records import Flag, Json, Notes, convert_record, iterate_records
from unified_seg.data.problems import DataError, RecordError
from unified_seg.structures.class_table import ClassTable, SegmentClass
from unified_seg_files import write_text

# #rgb, #rrggbb, and perhaps two digits of opacity.
HEX_COLOR = re.compile(
    r"#(?:([0-9a-f])([0-9a-f])([0-9a-f])|([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})(?:[0-9a-f]{2})?)", re.I
)
# What tools write for no supercategory.
NO_SUPERCATEGORY = (None, "", "none")


class CategoryName(Struct, frozen=True, kw_only=True):
    """What an entry of `categories` has at least."""

    id: int
    name: str


class CategoryEntry(CategoryName, frozen=True, kw_only=True):
    """An entry of `categories`; a supercategory is text where it is used, and a color see `_parse_color`."""

    isthing: Flag = False
    supercategory: Any = None
    color: Any = None


Category = TypeVar("Category", bound=CategoryName)
#: What a class may have in a YAML file.
CATEGORY_KEYS = CategoryEntry.__struct_fields__


def read_categories(path: Path, use_supercategories: bool | None = None) -> ClassTable:
    """Return the classes of COCO's categories: a JSON list of them, or an object that has it as `categories`.

    Args, returns and raises as `build_class_table`; a root category is left out, see `remove_root_category`.
    """
    return build_class_table(path, remove_root_category(path, read_json(path)), use_supercategories)


def read_classes(path: Path) -> ClassTable:
    """Return the classes of a file.

    Args:
        path: a COCO JSON with `categories`, or a YAML list (by itself or as `categories`) of the same: each a name, or
            name with id (default: its place in the list, from 0), isthing (default: no), supercategory and color.

    Raises:
        DataError: not such a file, or categories that make no table.
    """
    if path.suffix.lower() == ".json":
        return read_categories(path)
    categories = find_categories(read_yaml(path))
    if isinstance(categories, list):
        categories = [_complete_category(path, index, entry) for index, entry in enumerate(categories)]
    return build_class_table(path, categories)


def _complete_category(path: Path, index: int, entry: Any) -> Any:
    """Return an entry of a YAML list as one of COCO's categories."""
    if isinstance(entry, bool):  # YAML's no, yes, on, off
        raise DataError(f"{path}: record {index}: {str(entry).lower()} is no name; write names such as 'no' in quotes")
    if isinstance(entry, str | int):
        entry = {"name": entry}
    if not isinstance(entry, dict):
        return entry
    if unknown := [key for key in entry if key not in CATEGORY_KEYS]:
        keys = ", ".join(CATEGORY_KEYS)
        raise DataError(f"{path}: record {index}: unknown key {unknown[0]!r}; a class has {keys}")
    return {"id": index, "isthing": 0, **entry}


def find_categories(content: Any) -> Any:
    """Return the categories of a file: itself a list of them, or an object that has it as `categories`."""
    return content.get("categories") if isinstance(content, dict) else content


def remove_root_category(path: Path, content: Any) -> Any:
    """Return the categories of a file without the root category that Roboflow writes, which is no class.

    The root has no supercategory, is that of all others, and no annotation uses it: such as "pets" (id 0, supercategory
    "none") above "cat" and "dog". That it is left out is logged once.
    """
    categories = find_categories(content)
    root = _find_root(categories)
    if root is None or not isinstance(content, dict):
        return categories
    used = _list_used_ids(content)
    if root.get("id") in used or str(root.get("id")) in used:
        return categories
    note = f"{path}: category {root.get('name')!r} is above all others and not used; it is left out of the classes"
    log_first_n(logging.WARNING, note, name=__name__, key="message")
    return [category for category in categories if category is not root]


def _find_root(categories: Any) -> Json | None:
    """Return the category that is the supercategory of all others, and has none itself."""
    if not isinstance(categories, list) or len(categories) < 2 or not all(isinstance(c, dict) for c in categories):
        return None
    roots = [c for c in categories if c.get("supercategory") in NO_SUPERCATEGORY]
    others = [c.get("supercategory") for c in categories if c.get("supercategory") not in NO_SUPERCATEGORY]
    is_root = len(roots) == 1 and all(other == roots[0].get("name") for other in others)
    return roots[0] if is_root else None


def _list_used_ids(content: Json) -> list[Any]:
    """Return the category ids of the annotations, or of their segments in COCO's panoptic format."""
    annotations = content.get("annotations")
    records = [a for a in annotations if isinstance(a, dict)] if isinstance(annotations, list) else []
    segments = [s for a in records if isinstance(a.get("segments_info"), list) for s in a["segments_info"]]
    return [r.get("category_id") for r in [*records, *segments] if isinstance(r, dict)]


def match_categories(
    path: Path, content: Json, table: ClassTable, *, allow_other_names: bool = True
) -> dict[int, SegmentClass | str]:
    """Return the class of each category id of a COCO file; of an id without a class, its name.

    The file's categories give its ids names, and classes are found by them. A file without categories has the ids of
    the classes.

    Args:
        path: the file, for errors.
        content: of the file.
        table: the classes.
        allow_other_names: a category whose name is not that of a class is the class with its id, unless another
            category has the name of that class. This is logged once.

    Raises:
        DataError: a category without id or name; or with another name than the class with its id.
    """
    if content.get("categories") is None:
        return dict(table.by_dataset_id)
    by_name = {cls.name: cls for cls in table.classes}
    notes = Notes()
    names: dict[int, str] = {}
    for where, record in iterate_records(path, content["categories"], "categories"):
        category = _read_entry(path, where, record, CategoryName, notes)
        names[category.id] = category.name
    notes.log(path)
    found = {category_id: by_name[name] for category_id, name in names.items() if name in by_name}
    taken = {cls.name for cls in found.values()}
    by_id = {i: cls for i, cls in table.by_dataset_id.items() if i not in found and cls.name not in taken}
    for category_id, cls in by_id.items():
        if category_id in names:
            note = f"{path}: category {category_id} has the name {names[category_id]!r}, but {cls.name!r} as a class"
            if not allow_other_names:
                raise DataError(note)
            log_first_n(logging.WARNING, f"{note}; its id decides", name=__name__, key="message")
    return {**names, **found, **by_id}


def build_class_table(
    path: Path, categories: Any, use_supercategories: bool | None = None, *, require_colors: bool = False
) -> ClassTable:
    """Return the classes of COCO's categories (id, name, isthing, perhaps color and supercategory).

    Args:
        path: the file, for errors.
        categories: the list of them. If no record has an isthing, as in files of instances, all are things.
        use_supercategories: classes of one supercategory are one category; else each class is its own.
            None: those of one supercategory, if there are any and not all are the same.
        require_colors: a value that is no color is an error; else the class gets another color, which is logged.

    Returns:
        The classes; semantic ids and thing ids count in their order.

    Raises:
        DataError: no such list, or categories that make no table.
    """
    if categories is None:
        raise DataError(f"{path}: no categories")
    records = list(iterate_records(path, categories))
    notes = Notes()
    entries = [_read_entry(path, where, record, CategoryEntry, notes) for where, record in records]
    things_alone = all(record.get("isthing") is None for _, record in records)
    if use_supercategories is None and _is_one_group(entries, _find_root([record for _, record in records])):
        use_supercategories = False
    # Two classes of one name are not one category.
    unique_names = len({entry.name for entry in entries}) == len(entries)
    palette = colormap(rgb=True).astype(int).tolist()
    classes: list[SegmentClass] = []
    num_things = 0
    for index, ((where, _), entry) in enumerate(zip(records, entries)):
        is_thing = things_alone or bool(entry.isthing)
        category = entry.name if unique_names else str(index)
        if use_supercategories or (use_supercategories is None and _given_supercategory(entry) is not None):
            category = entry.supercategory
            if not isinstance(category, str):
                raise DataError(f"{path}: {where}: supercategory must be str, got {category!r:.80}")
        color = palette[index % len(palette)]
        try:
            color = _parse_color(entry.color) or color
        except RecordError as error:
            if require_colors:
                raise DataError(f"{path}: {where}: {error}") from None
            notes.add("color is not read, the class gets another one", where)
        thing_id = num_things if is_thing else None
        classes.append(SegmentClass(entry.name, index, thing_id, entry.id, category, tuple(color)))
        num_things += is_thing
    notes.log(path)
    try:
        return ClassTable(classes)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _parse_color(value: Any) -> tuple[int, int, int] | None:
    """Return a color, RGB; None if there is none.

    Args:
        value: [red, green, blue], 0 to 255; or #rrggbb or #rgb, as Label Studio and COCO Annotator write; each perhaps
            with an opacity, which is left out.

    Raises:
        RecordError: another value.
    """
    if value is None or value == "":
        return None
    found = HEX_COLOR.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        red, green, blue = (int(digits * (3 - len(digits)), 16) for digits in found.groups() if digits)
        return red, green, blue
    numbers = value if isinstance(value, list | tuple) and len(value) in (3, 4) else []
    channels = [int(n) for n in numbers if type(n) in (int, float) and float(n).is_integer() and 0 <= n <= 255]
    if not numbers or len(channels) < len(numbers):
        raise RecordError(f"color must be [red, green, blue], each in [0, 255], or #rrggbb, got {value!r:.80}")
    return channels[0], channels[1], channels[2]


def _is_one_group(entries: Sequence[CategoryEntry], root: Json | None) -> bool:
    """Return whether all classes, but for a root above all others, have the same supercategory or none."""
    groups = {repr(_given_supercategory(e)) for e in entries if root is None or e.name != root["name"]}
    return len(groups) <= 1


def _read_entry(path: Path, where: str, record: Json, kind: type[Category], notes: Notes) -> Category:
    if type(record.get("name")) is int:
        record = {**record, "name": str(record["name"])}
        notes.add("name is a number, read as text", where)
    try:
        entry = convert_record(record, kind, notes, where)
    except RecordError as error:
        raise DataError(f"{path}: {where}: {error}") from None
    if not entry.name.strip():
        raise DataError(f"{path}: {where}: name is empty")
    return entry


def _given_supercategory(entry: CategoryEntry) -> Any:
    """Return the supercategory, None where there is none: tools write "", "none" or null."""
    return None if entry.supercategory in NO_SUPERCATEGORY else entry.supercategory


def to_coco_categories(classes: Iterable[SegmentClass]) -> list[Json]:
    """Return COCO's categories, of which `build_class_table` makes the same classes."""
    categories = []
    for c in classes:
        category = {"id": c.dataset_id, "name": c.name, "isthing": int(c.is_thing), "color": list(c.color)}
        categories.append(category if c.category == c.name else {**category, "supercategory": c.category})
    return categories


def write_classes(path: Path, classes: Iterable[SegmentClass]) -> None:
    """Write classes as a YAML file, of which `read_classes` makes the same; raises OSError."""
    content = to_coco_categories(classes)
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None))
