"""The panoptic JSON of a split in COCO's format, and its PNGs."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.io.label_files import read_panoptic_ids
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.io.text_files import read_json, write_json
from unified_seg.data.preparation.labels import Label, write_labels
from unified_seg.data.problems import DataError
from unified_seg.ops.id_maps import measure_segments

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


def write_panoptic_files(
    json_file: Path,
    labels: Sequence[Label],
    read: Callable[..., np.ndarray],
    categories: Sequence[Json],
    *,
    ids_per_category: int,
    workers: int,
) -> int:
    """Write the panoptic PNGs and the JSON of a split unless they are there; return the number of files written.

    The id of a segment is `ids_per_category` * (category id + 1) plus a number below `ids_per_category`, so that the
    JSON can be made from the PNGs alone; 0 is void. The id of an image is its name without suffix.

    Args:
        json_file: the JSON.
        labels: the PNGs, sorted by image.
        read: returns the (H, W) int32 segment ids for the sources of a PNG.
        categories: those of the JSON, with ids.
        ids_per_category: more than the segments of a category in an image.
        workers: number of processes.
    """
    written = write_labels(labels, read, workers, f"{json_file.stem}: PNGs")
    if read_image_ids(json_file) == [label.image.stem for label in labels]:
        return written
    make_entries = partial(_make_entries, ids_per_category=ids_per_category)
    write_panoptic_json(
        json_file, map_in_parallel(make_entries, labels, workers, f"{json_file.stem}: segments"), categories
    )
    return written + 1


def _make_entries(label: Label, *, ids_per_category: int) -> tuple[Json, Json]:
    """Return the entries under images and annotations for a panoptic PNG."""
    ids = read_panoptic_ids(label.output)
    found = np.unique(ids)
    segments = [
        {
            "id": segment_id,
            "category_id": segment_id // ids_per_category - 1,
            "area": area,
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": 0,
        }
        for segment_id, (area, top, bottom, left, right) in zip(
            found.tolist(), measure_segments(ids, found.tolist()).tolist()
        )
        if segment_id
    ]
    height, width = ids.shape
    image = {"id": label.image.stem, "file_name": label.image.name, "height": height, "width": width}
    return image, {"image_id": label.image.stem, "file_name": label.output.name, "segments_info": segments}
