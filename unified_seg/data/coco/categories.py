"""COCO's categories as a class table, and back."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.utils.colormap import colormap

from unified_seg.data.coco.records import Json, field, flag, records_of
from unified_seg.data.io.text_files import read_json
from unified_seg.data.problems import DataError, RecordError
from unified_seg.structures.class_table import ClassTable, SegmentClass


def read_categories(path: Path, use_supercategories: bool | None = None) -> ClassTable:
    """The classes of COCO's categories: a JSON list of them, or an object that has it as `categories`.

    Args, returns and raises as `class_table`.
    """
    return class_table(path, listed_categories(read_json(path)), use_supercategories)


def listed_categories(content: Any) -> Any:
    """What a file says the categories are: itself a list of them, or an object that has it as `categories`."""
    return content.get("categories") if isinstance(content, dict) else content


def class_table(path: Path, categories: Any, use_supercategories: bool | None = None) -> ClassTable:
    """The classes of COCO's categories (id, name, isthing, perhaps color and supercategory).

    Args:
        path: the file, for errors.
        categories: the list of them. Where none has an isthing, as in files of instances, all are things.
        use_supercategories: classes of one supercategory are look-alikes; else each class has its category to itself.
            None: those of one supercategory, where they have any and not all have the same one.

    Returns:
        The classes; semantic ids and thing ids count in their order.

    Raises:
        DataError: no such list, or categories that make no table.
    """
    records = list(records_of(path, categories))
    things_alone = not any("isthing" in record for _, record in records)
    names = [record.get("name") for _, record in records]
    # Two classes of one name are not one category.
    own_names = names if len({str(name) for name in names}) == len(names) else [str(i) for i in range(len(names))]
    if use_supercategories is None and len({_given_category(record) for _, record in records}) <= 1:
        use_supercategories = False
    palette = colormap(rgb=True).astype(int).tolist()
    classes: list[SegmentClass] = []
    for index, (where, record) in enumerate(records):
        try:
            is_thing = things_alone or flag(record, "isthing")
            cls = SegmentClass(
                name=_name(record),
                semantic_id=index,
                thing_id=sum(c.is_thing for c in classes) if is_thing else None,
                dataset_id=field(record, "id", int),
                category=_category(record, str(own_names[index]), use_supercategories),
                color=_color(record.get("color", palette[index % len(palette)])),
            )
        except RecordError as error:
            raise DataError(f"{path}: {where}: {error}") from None
        classes.append(cls)
    try:
        return ClassTable(classes)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _name(record: Json) -> str:
    name: str = field(record, "name", str)
    if not name.strip():
        raise RecordError("its name is empty")
    return name


def _given_category(record: Json) -> Any:
    """What tools write who ask for no supercategory is none: "", "none" or null."""
    given = record.get("supercategory")
    return None if given in ("", "none") else given


def _category(record: Json, own: str, use_supercategories: bool | None) -> str:
    if use_supercategories or (use_supercategories is None and _given_category(record) is not None):
        return field(record, "supercategory", str)
    return own


def _color(color: Any) -> tuple[int, int, int]:
    if not isinstance(color, list) or len(color) != 3 or not all(type(c) is int and c in range(256) for c in color):
        raise RecordError(f"color must be three numbers 0 .. 255, got {color!r:.80}")
    return color[0], color[1], color[2]


def to_coco_categories(classes: Iterable[SegmentClass]) -> list[Json]:
    """COCO's categories, of which `class_table` makes the same classes."""
    categories = []
    for c in classes:
        category = {"id": c.dataset_id, "name": c.name, "isthing": int(c.is_thing), "color": list(c.color)}
        categories.append(category if c.category == c.name else {**category, "supercategory": c.category})
    return categories
