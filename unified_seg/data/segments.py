"""The true segments of a record: a panoptic PNG and its segments_info, checked against each other.

H, W = the image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from unified_seg.data.reading import DataError, read_panoptic_ids
from unified_seg.functional.class_table import ClassTable, SegmentClass

Record = dict[str, Any]


@dataclass(frozen=True)
class TrueSegment:
    """A segment of a panoptic PNG. Its area is counted from the PNG: a wrong one in the JSON makes PQ exceed 100."""

    id: int
    cls: SegmentClass
    is_crowd: bool
    area: int


def true_segments(record: Record, table: ClassTable) -> tuple[np.ndarray, list[TrueSegment]]:
    """The panoptic map of a record.

    Returns:
        (H, W) int32 segment ids with 0 = void, and the segments.

    Raises:
        DataError: the PNG has another size than the record says, segments of the PNG and of segments_info differ, an
            id occurs twice, or a class is unknown.
    """
    file_name = record["pan_seg_file_name"]
    ids = read_panoptic_ids(file_name)
    height, width = record["height"], record["width"]
    if ids.shape != (height, width):
        raise DataError(f"{file_name}: {ids.shape[0]}x{ids.shape[1]} pixels, its image has {height}x{width}")
    found, counts = np.unique(ids, return_counts=True)
    areas = {int(i): int(n) for i, n in zip(found, counts) if i != 0}
    infos = record["segments_info"]
    described = [int(info["id"]) for info in infos]
    if len(set(described)) != len(described):
        raise DataError(f"{file_name}: segments_info describes a segment twice: {sorted(described)}")
    if only_png := sorted(areas.keys() - set(described)):
        raise DataError(f"{file_name}: the segments {only_png} are in the PNG but not in segments_info")
    if only_info := sorted(set(described) - areas.keys()):
        raise DataError(f"{file_name}: the segments {only_info} are in segments_info but not in the PNG")
    return ids, [_true_segment(info, areas, table, file_name) for info in infos]


def _true_segment(info: Any, areas: dict[int, int], table: ClassTable, file_name: str) -> TrueSegment:
    try:
        cls = table.segment_class(info["category_id"], bool(info["isthing"]))
    except ValueError as error:
        raise DataError(f"{file_name}: segment {info['id']}: {error}") from None
    return TrueSegment(int(info["id"]), cls, bool(info.get("iscrowd", 0)), areas[int(info["id"])])
