"""COCO's categories as a class table, and back."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from detectron2.utils.colormap import colormap
from msgspec import UNSET, Meta, Struct, UnsetType

from unified_seg.data.io.text_files import read_json, read_yaml
from unified_seg.data.io.typed_records import Flag, Json, convert_record, iterate_records
from unified_seg.data.problems import DataError, RecordError
from unified_seg.structures.class_table import ClassTable, SegmentClass

Byte = Annotated[int, Meta(ge=0, le=255)]


class CategoryName(Struct, frozen=True, kw_only=True):
    """What an entry of `categories` has at least."""

    id: int
    name: str


class CategoryEntry(CategoryName, frozen=True, kw_only=True):
    """An entry of `categories`; a supercategory is text where it is used."""

    isthing: Flag = False
    supercategory: Any = None
    color: tuple[Byte, Byte, Byte] | UnsetType = UNSET


#: What a class may have in a YAML file.
CATEGORY_KEYS = CategoryEntry.__struct_fields__


def read_categories(path: Path, use_supercategories: bool | None = None) -> ClassTable:
    """Return the classes of COCO's categories: a JSON list of them, or an object that has it as `categories`.

    Args, returns and raises as `build_class_table`.
    """
    return build_class_table(path, find_categories(read_json(path)), use_supercategories)


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
    if isinstance(entry, str):
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


def build_class_table(path: Path, categories: Any, use_supercategories: bool | None = None) -> ClassTable:
    """Return the classes of COCO's categories (id, name, isthing, perhaps color and supercategory).

    Args:
        path: the file, for errors.
        categories: the list of them. If no record has an isthing, as in files of instances, all are things.
        use_supercategories: classes of one supercategory are one category; else each class is its own.
            None: those of one supercategory, if there are any and not all are the same.

    Returns:
        The classes; semantic ids and thing ids count in their order.

    Raises:
        DataError: no such list, or categories that make no table.
    """
    records = list(iterate_records(path, categories))
    entries = [_read_entry(record, f"{path}: {where}") for where, record in records]
    things_alone = not any("isthing" in record for _, record in records)
    if use_supercategories is None and len({repr(_given_supercategory(entry)) for entry in entries}) <= 1:
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
        color = palette[index % len(palette)] if entry.color is UNSET else entry.color
        thing_id = num_things if is_thing else None
        classes.append(SegmentClass(entry.name, index, thing_id, entry.id, category, tuple(color)))
        num_things += is_thing
    try:
        return ClassTable(classes)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _read_entry(record: Json, where: str) -> CategoryEntry:
    try:
        entry = convert_record(record, CategoryEntry)
    except RecordError as error:
        raise DataError(f"{where}: {error}") from None
    if not entry.name.strip():
        raise DataError(f"{where}: name is empty")
    return entry


def _given_supercategory(entry: CategoryEntry) -> Any:
    """Return the supercategory, None where there is none: tools write "", "none" or null."""
    return None if entry.supercategory in ("", "none") else entry.supercategory


def to_coco_categories(classes: Iterable[SegmentClass]) -> list[Json]:
    """Return COCO's categories, of which `build_class_table` makes the same classes."""
    categories = []
    for c in classes:
        category = {"id": c.dataset_id, "name": c.name, "isthing": int(c.is_thing), "color": list(c.color)}
        categories.append(category if c.category == c.name else {**category, "supercategory": c.category})
    return categories
