"""Semantic label files as maps of semantic ids, and the semantic ground truth of a record.

K = classes; (H, W) = the image.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from unified_seg.data.io.label_files import check_size, read_label, read_panoptic_ids, replace_segments
from unified_seg.data.problems import DataError, Problem, Report, raise_error
from unified_seg.ops.id_maps import UnknownIdsError, format_ids, replace_ids
from unified_seg.structures.class_table import IGNORE_LABEL, ClassTable

# The ids that a semantic PNG can have: those of the data set, or semantic ids, 0 to K-1.
ID_KINDS = ("dataset", "contiguous")
# Below all ids.
NO_CLASS = -1
# The void value of PNGs in which 255 is a class.
WIDE_VOID = 65535

# The keys of a record that can name its semantic ground truth, in order of preference.
SEMANTIC_FILES = ("sem_seg_file_name", "pan_seg_file_name")


class PixelValues(NamedTuple):
    """The meaning of the values of semantic PNGs.

    Attributes:
        to_semantic: (V,) int32, the semantic id of each value, or the ignore label, or NO_CLASS.
        from_semantic: (ignore label + 1,) uint8 or uint16, the value of each semantic id and of the ignore label; 0 for
            the ignore label if no value is void.
    """

    to_semantic: np.ndarray
    from_semantic: np.ndarray

    @classmethod
    def from_table(cls, table: ClassTable, kind: str, ignored: tuple[int, ...] | None = None) -> "PixelValues":
        """Return the meaning of the values of a data set's PNGs.

        Args:
            table: the classes.
            kind: of ID_KINDS.
            ignored: the values that mean void, perhaps none, none of them a class; None: 255, and of dataset ids also
                0, unless it is the id of a class; 65535 if all of these are.

        Raises:
            DataError: the ids do not fit into a PNG, or are those of several classes; a value is both void and a class;
                or the ignore label is outside of [0, 65535].
        """
        if kind not in ID_KINDS:
            raise ValueError(f"the kind of ids must be {' or '.join(ID_KINDS)}, got {kind!r}")
        if not 0 <= table.ignore_label <= 65535:
            raise DataError(f"the ignore label of the classes must be in [0, 65535], got {table.ignore_label}")
        semantic_of = {c.dataset_id if kind == "dataset" else c.semantic_id: c.semantic_id for c in table.classes}
        if kind == "dataset" and len(semantic_of) != table.num_semantic:
            raise DataError("dataset ids: several things share a semantic id, so PNGs can't hold dataset ids")
        if min(semantic_of) < 0 or max(semantic_of) > 65535:
            raise DataError(f"{kind} ids must be in [0, 65535], got {min(semantic_of)} to {max(semantic_of)}")
        voids = _choose_void_values(semantic_of, kind) if ignored is None else list(ignored)
        _check_void_values(semantic_of, voids)
        to_semantic = np.full(max([*semantic_of, *voids]) + 1, NO_CLASS, dtype=np.int32)
        to_semantic[voids] = table.ignore_label
        dtype = np.uint8 if len(to_semantic) <= 256 else np.uint16
        from_semantic = np.full(table.ignore_label + 1, voids[0] if voids else 0, dtype=dtype)
        for value, semantic_id in semantic_of.items():
            to_semantic[value], from_semantic[semantic_id] = semantic_id, value
        return cls(to_semantic, from_semantic)

    def to_dict(self) -> dict[int, int]:
        """Return `to_semantic` as a dict without NO_CLASS, the form of a record's `sem_seg_values`."""
        return {int(value): int(self.to_semantic[value]) for value in np.flatnonzero(self.to_semantic != NO_CLASS)}


def _choose_void_values(semantic_of: Mapping[int, int], kind: str) -> list[int]:
    voids = [v for v in ((IGNORE_LABEL, 0) if kind == "dataset" else (IGNORE_LABEL,)) if v not in semantic_of]
    return voids or [WIDE_VOID]


def _check_void_values(semantic_of: Mapping[int, int], voids: list[int]) -> None:
    if both := [value for value in voids if value in semantic_of]:
        raise DataError(f"the values {both} can't be both ignored and ids of classes")
    if voids and (min(voids) < 0 or max(voids) > 65535):
        raise DataError(f"values to ignore must be in [0, 65535], got {voids}")


def to_semantic_ids(
    pixels: np.ndarray, to_semantic: np.ndarray, file: str, report: Report = raise_error, void: int = IGNORE_LABEL
) -> np.ndarray:
    """Return the semantic ids of a label map.

    Args:
        pixels: (H, W) integers, as read.
        to_semantic: (V,), see `PixelValues`.
        file: of the map, for errors.
        report: gets the values without a meaning; they become void.
        void: the ignore label.

    Returns:
        (H, W) int32: semantic ids and the ignore label.
    """
    known = (pixels >= 0) & (pixels < len(to_semantic))
    labels = to_semantic[np.where(known, pixels, 0)]
    wrong = ~known | (labels == NO_CLASS)
    if wrong.any():
        values = np.unique(pixels[wrong])[:10].tolist()
        report(Problem("label-id", file, f"the values {values} are neither a class nor void; {wrong.sum()} pixels"))
        labels[wrong] = void
    return labels


def has_semantic_ground_truth(record: Mapping[str, Any]) -> bool:
    """Return whether `read_semantic_ground_truth` finds one."""
    return any(record.get(key) for key in SEMANTIC_FILES)


def find_semantic_file(record: Mapping[str, Any]) -> str:
    """Return the file that the semantic ground truth of a record comes from.

    Raises:
        DataError: it has none.
    """
    for key in SEMANTIC_FILES:
        if record.get(key):
            return str(record[key])
    raise DataError(f"{record['file_name']}: no semantic label ({' or '.join(SEMANTIC_FILES)})")


def read_semantic_ground_truth(
    record: Mapping[str, Any],
    table: ClassTable,
    report: Report = raise_error,
    *,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Return the semantic ground truth of a record: its semantic label or, without one, the classes of its segments.

    Args:
        record: `height`, `width`, `file_name` and `sem_seg_file_name`, whose pixels are semantic ids, or values to look
            up in `sem_seg_values` (see `PixelValues.to_dict`); or `pan_seg_file_name` and `segments_info`.
        table: the classes.
        report: gets values without a meaning; they become void.
        size: (H, W) of the image, for records of other data sets, which may lack `height` and `width`.

    Returns:
        (H, W) integers: semantic ids and the ignore label.

    Raises:
        DataError: there is no such ground truth, it can't be read, or its size differs from the image's; and, by the
            default report, it has a value without a meaning.
    """
    file = find_semantic_file(record)
    size = size or (record["height"], record["width"])
    if record.get("sem_seg_file_name"):
        pixels = check_size(read_label(file), size, file)
        if "sem_seg_values" in record:
            values = record["sem_seg_values"]
            to_semantic = np.full(max(values) + 1, NO_CLASS, dtype=np.int32)
            to_semantic[list(values)] = list(values.values())
            return to_semantic_ids(pixels, to_semantic, file, report, table.ignore_label)
        return _check_ids(pixels, table, file, report)
    ids = replace_segments(check_size(read_panoptic_ids(file), size, file), record)
    return convert_segments_to_classes(ids, record, table)


def _check_ids(pixels: np.ndarray, table: ClassTable, file: str, report: Report) -> np.ndarray:
    """Return the pixels, which are semantic ids already; other values become void."""
    wrong = (pixels != table.ignore_label) & ((pixels < 0) | (pixels >= table.num_semantic))
    if not wrong.any():
        return pixels
    cause = (
        f"label id {pixels[wrong][0]} is neither a class (0 to {table.num_semantic - 1}) nor the ignore label "
        f"{table.ignore_label}; {wrong.sum()} pixels have such ids"
    )
    report(Problem("label-id", file, cause))
    return np.where(wrong, table.ignore_label, pixels)


def convert_segments_to_classes(ids: np.ndarray, record: Mapping[str, Any], table: ClassTable) -> np.ndarray:
    """Return (H, W) int64 semantic ids and the ignore label of a panoptic map and its segments_info.

    Raises:
        DataError: a segment that segments_info lacks, or of an unknown class.
    """
    return find_segment_classes(record, table)[number_segments(ids, record)]


def find_segment_classes(record: Mapping[str, Any], table: ClassTable) -> np.ndarray:
    """Return (segments + 1,) int64: the ignore label, then the semantic id of each segment of segments_info.

    Raises:
        DataError: a segment of an unknown class.
    """
    try:
        classes = [table.find_class(s["category_id"], bool(s["isthing"])).semantic_id for s in record["segments_info"]]
    except ValueError as error:
        raise DataError(f"{record['pan_seg_file_name']}: {error}") from None
    return np.array([table.ignore_label, *classes], dtype=np.int64)


def number_segments(ids: np.ndarray, record: Mapping[str, Any], ignore_unknown: bool = False) -> np.ndarray:
    """Return the number of each pixel's segment: 0 = void, i + 1 = the segment i of segments_info.

    Args:
        ids: (H, W) of the panoptic PNG.
        record: with segments_info.
        ignore_unknown: segments that segments_info lacks are void.

    Returns:
        (H, W) uint8 if the numbers fit, else int32; of two segments with one id it is the later one.

    Raises:
        DataError: a segment that segments_info lacks.
    """
    number_of = {int(info["id"]): number for number, info in enumerate(record["segments_info"], 1)}
    number_of.setdefault(0, 0)
    known = sorted(number_of)
    dtype = np.uint8 if len(record["segments_info"]) < 256 else np.int32
    try:
        return replace_ids(ids, known, [number_of[i] for i in known], dtype)
    except UnknownIdsError as error:
        if ignore_unknown:
            return number_segments(np.where(np.isin(ids, error.ids), 0, ids), record)
        cause = f"the segments {format_ids(error.ids)} are in the PNG but not in segments_info"
        raise DataError(f"{record['pan_seg_file_name']}: {cause}") from None
