"""The true segments of a record: a panoptic PNG and its segments_info, checked against each other.

H, W = the image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from unified_seg.data.reading import DataError, read_panoptic_ids
from unified_seg.functional.class_table import ClassTable, SegmentClass
from unified_seg.functional.id_maps import UnknownIdsError, segment_extents

Record = dict[str, Any]


@dataclass(frozen=True)
class TrueSegment:
    """A segment of a panoptic PNG. Area and window come from the PNG: a wrong area in the JSON makes PQ exceed 100.

    Attributes:
        area: pixels.
        window: rows and columns of its tight box.
    """

    id: int
    cls: SegmentClass
    is_crowd: bool
    area: int
    window: tuple[slice, slice]


def true_segments(record: Record, table: ClassTable) -> tuple[np.ndarray, list[TrueSegment]]:
    """The panoptic map of a record.

    Returns:
        (H, W) int32 segment ids with 0 = void, and the segments.

    Raises:
        DataError: the PNG has another size than the record says, there is no segments_info, segments of the PNG and
            of segments_info differ, an id occurs twice, or a class is unknown.
    """
    file_name = record["pan_seg_file_name"]
    ids = read_panoptic_ids(file_name)
    height, width = record["height"], record["width"]
    if ids.shape != (height, width):
        raise DataError(f"{file_name}: {ids.shape[0]}x{ids.shape[1]} pixels, its image has {height}x{width}")
    infos = record.get("segments_info")
    if infos is None:
        raise DataError(f"{file_name}: its record has no segments_info")
    described = [int(info["id"]) for info in infos]
    if len(set(described)) != len(described):
        raise DataError(f"{file_name}: segments_info describes a segment twice: {sorted(described)}")
    known = sorted({0, *described})
    try:
        extents = segment_extents(ids, known)
    except UnknownIdsError as error:
        raise DataError(f"{file_name}: the segments {error.ids} are in the PNG but not in segments_info") from None
    extent_of = dict(zip(known, extents.tolist()))
    if only_info := [i for i in sorted(described) if i == 0 or not extent_of[i][0]]:
        raise DataError(f"{file_name}: the segments {only_info} are in segments_info but not in the PNG")
    return ids, [_true_segment(info, extent_of[int(info["id"])], table, file_name) for info in infos]


def _true_segment(info: Any, extent: list[int], table: ClassTable, file_name: str) -> TrueSegment:
    try:
        cls = table.segment_class(info["category_id"], bool(info["isthing"]))
    except ValueError as error:
        raise DataError(f"{file_name}: segment {info['id']}: {error}") from None
    area, top, bottom, left, right = extent
    window = (slice(top, bottom), slice(left, right))
    return TrueSegment(int(info["id"]), cls, bool(info.get("iscrowd", 0)), area, window)
