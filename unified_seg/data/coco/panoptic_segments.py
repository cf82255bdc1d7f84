"""The true segments of a record: a panoptic PNG and its segments_info, checked against each other.

H, W = the image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from unified_seg.data.io.image_files import check_size, read_panoptic_ids
from unified_seg.data.problems import DataError, Problem, Report, stop
from unified_seg.ops.id_maps import UnknownIdsError, format_ids, measure_segments
from unified_seg.structures.class_table import ClassTable, SegmentClass

Record = dict[str, Any]


@dataclass(frozen=True)
class GroundTruthSegment:
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


def read_segments(
    record: Record, table: ClassTable, report: Report = stop
) -> tuple[np.ndarray, list[GroundTruthSegment]]:
    """The panoptic map of a record.

    Args:
        record: with `pan_seg_file_name`, `segments_info`, `height` and `width`.
        table: the classes.
        report: gets what is wrong with a segment, which is then left out.

    Returns:
        (H, W) int32 segment ids with 0 = void, and the segments.

    Raises:
        DataError: the PNG can't be read or has another size than the record says, there is no segments_info; and, by
            the default report, segments of the PNG and of segments_info differ, an id occurs twice, or a class is
            unknown.
    """
    file_name = record["pan_seg_file_name"]
    ids = check_size(read_panoptic_ids(file_name), (record["height"], record["width"]), file_name)
    infos = record.get("segments_info")
    if infos is None:
        raise DataError(f"{file_name}: its record has no segments_info")
    extent_of = _extents(ids, infos, file_name, report)
    segments = []
    seen: set[int] = set()
    for info in infos:
        cause = ""
        if info["id"] in seen:
            cause = f"segments_info describes the segment {info['id']} twice"
        elif info["id"] == 0 or not extent_of[info["id"]][0]:
            cause = f"the segment {info['id']} is in segments_info but not in the PNG"
        if cause:
            report(Problem("segments", file_name, cause))
            continue
        seen.add(info["id"])
        if (segment := _true_segment(info, extent_of[info["id"]], table, file_name, report)) is not None:
            segments.append(segment)
    return ids, segments


def _extents(ids: np.ndarray, infos: list[Any], file_name: str, report: Report) -> dict[int, list[int]]:
    """Of each segment of segments_info: its pixels and window in the PNG, which should hold no others."""
    known = sorted({0, *(info["id"] for info in infos)})
    try:
        return dict(zip(known, measure_segments(ids, known).tolist()))
    except UnknownIdsError as error:
        cause = f"the segments {format_ids(error.ids)} are in the PNG but not in segments_info"
        report(Problem("segments", file_name, cause))
        everything = sorted({*known, *error.ids})
        return dict(zip(everything, measure_segments(ids, everything).tolist()))


def _true_segment(
    info: Any, extent: list[int], table: ClassTable, file_name: str, report: Report
) -> GroundTruthSegment | None:
    try:
        cls = table.find_class(info["category_id"], bool(info["isthing"]))
    except ValueError as error:
        report(Problem("class", file_name, str(error), f"segment {info['id']}"))
        return None
    area, top, bottom, left, right = extent
    if info.get("area", area) != area:
        report(Problem("area", file_name, f"{area} pixels, its area says {info['area']}", f"segment {info['id']}"))
    window = (slice(top, bottom), slice(left, right))
    return GroundTruthSegment(info["id"], cls, bool(info.get("iscrowd", 0)), area, window)
