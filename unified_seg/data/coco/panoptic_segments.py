"""The ground-truth segments of a record: a panoptic PNG and its segments_info, checked against each other.

H, W = the image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unified_seg.data.io.label_files import check_size, read_panoptic_ids, replace_segments
from unified_seg.data.problems import DataError, Problem, Report, raise_error
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
    record: Record,
    table: ClassTable,
    report: Report = raise_error,
    read: Callable[[str], np.ndarray] = read_panoptic_ids,
) -> tuple[np.ndarray, list[GroundTruthSegment]]:
    """Return the panoptic map of a record, and its segments.

    Args:
        record: with `pan_seg_file_name`, `segments_info`, `height` and `width`; perhaps `left_out_segments`, ids of
            segments that are reported already, None for one that can't be read, and `replaced_segments`.
        table: the classes.
        report: gets the problems; a wrong segment is left out.
        read: reads the PNG.

    Returns:
        (H, W) int32 segment ids with 0 = void, and the segments.

    Raises:
        DataError: the PNG can't be read or has another size than the record, or there is no segments_info; and, by the
            default report, segments of the PNG and of segments_info differ, an id occurs twice, or a class is unknown.
    """
    file_name = record["pan_seg_file_name"]
    ids = replace_segments(check_size(read(file_name), (record["height"], record["width"]), file_name), record)
    infos = record.get("segments_info")
    if infos is None:
        raise DataError(f"{file_name}: its record has no segments_info")
    extent_of = _measure_segments(ids, infos, record.get("left_out_segments", ()), file_name, report)
    segments = []
    seen: set[int] = set()
    for info in infos:
        cause = ""
        if info["id"] in seen:
            cause = f"the segment {info['id']} is in segments_info twice"
        elif info["id"] == 0 or not extent_of[info["id"]][0]:
            cause = f"the segment {info['id']} is in segments_info but not in the PNG"
        if cause:
            report(Problem("segments", file_name, cause))
            continue
        seen.add(info["id"])
        if (segment := _make_segment(info, extent_of[info["id"]], table, file_name, report)) is not None:
            segments.append(segment)
    return ids, segments


def _measure_segments(
    ids: np.ndarray, infos: list[Any], left_out: Sequence[Any], file_name: str, report: Report
) -> dict[int, list[int]]:
    """Return pixels and window in the PNG of each segment of segments_info; report segments only in the PNG."""
    known = sorted({0, *(info["id"] for info in infos)})
    try:
        return dict(zip(known, measure_segments(ids, known).tolist()))
    except UnknownIdsError as error:
        unexplained = [] if None in left_out else [i for i in error.ids if i not in left_out]
        if unexplained:
            cause = f"the segments {format_ids(unexplained)} are in the PNG but not in segments_info"
            report(Problem("segments", file_name, cause))
        everything = sorted({*known, *error.ids})
        return dict(zip(everything, measure_segments(ids, everything).tolist()))


def _make_segment(
    info: Any, extent: list[int], table: ClassTable, file_name: str, report: Report
) -> GroundTruthSegment | None:
    try:
        cls = table.find_class(info["category_id"], bool(info["isthing"]))
    except ValueError as error:
        report(Problem("class", file_name, str(error), f"segment {info['id']}"))
        return None
    area, top, bottom, left, right = extent
    if info.get("area", area) != area:
        report(Problem("area", file_name, f"{area} pixels, but its area is {info['area']}", f"segment {info['id']}"))
    window = (slice(top, bottom), slice(left, right))
    return GroundTruthSegment(info["id"], cls, bool(info.get("iscrowd", 0)), area, window)
