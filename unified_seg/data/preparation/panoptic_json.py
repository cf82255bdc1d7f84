"""The panoptic JSON of a split in COCO's format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unified_seg.data.io.text_files import read_json, write_json
from unified_seg.data.problems import DataError

Json = dict[str, Any]


def read_image_ids(json_file: Path) -> list[str]:
    """Return the image ids of a panoptic JSON in the order of its annotations; [] if the file is missing.

    Raises:
        DataError: the file is not in COCO's panoptic format.
    """
    if not json_file.is_file():
        return []
    try:
        return [entry["image_id"] for entry in read_json(json_file)["annotations"]]
    except (KeyError, TypeError):
        raise DataError(f"{json_file}: not in COCO's panoptic format; remove it to write it again") from None


def write_panoptic_json(json_file: Path, entries: Sequence[tuple[Json, Json]], categories: Sequence[Json]) -> None:
    """Write a panoptic JSON from the pairs (entry of images, entry of annotations) of all images."""
    images, annotations = zip(*entries)
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(json_file, content, indent=None)
