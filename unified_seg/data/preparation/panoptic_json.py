"""The panoptic JSON of a split, in COCO's format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unified_seg.data.io.text_files import read_json, write_json
from unified_seg.data.problems import DataError

Json = dict[str, Any]


def listed_images(json_file: Path) -> list[str]:
    """The image ids of a panoptic JSON, in the order of its annotations; none if there is no such file.

    Raises:
        DataError: another kind of file.
    """
    if not json_file.is_file():
        return []
    try:
        return [entry["image_id"] for entry in read_json(json_file)["annotations"]]
    except (KeyError, TypeError):
        raise DataError(f"{json_file}: not in COCO's panoptic format; remove it to have it made anew") from None


def write_panoptic_json(json_file: Path, entries: Sequence[tuple[Json, Json]], categories: Sequence[Json]) -> None:
    """Write a panoptic JSON of (entry of images, entry of annotations) for each image."""
    images, annotations = zip(*entries)
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(json_file, content, indent=None)
