"""Records drawn with their ground truth as far as it can be read, and which to draw.

(H, W) = an image.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch

from unified_seg.data.coco.panoptic_segments import read_segments
from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.problems import DataError, Problem
from unified_seg.data.validation.checks import check_record
from unified_seg.data.validation.survey import Survey, list_record_files
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.comparison import draw_ground_truth
from unified_seg.visualization.ground_truth_outputs import read_ground_truth
from unified_seg.visualization.overview import draw_panels

Record = Mapping[str, Any]

# Pictures of each kind of problem, and of records without a problem.
SHOWN = 3


class Sample(NamedTuple):
    """A record to draw.

    Attributes:
        dataset: its name.
        record: of it.
        is_sound: no error is known of it.
        caption: why it is shown.
    """

    dataset: str
    record: Record
    is_sound: bool
    caption: str


def problem_samples(surveys: Sequence[Survey]) -> dict[str, list[Sample]]:
    """The first records of each kind of problem, by kind; without problems of no record, or an image that is lost."""
    samples: dict[str, list[Sample]] = {}
    for survey in surveys:
        record_of: dict[str, dict[str, Any]] = {}
        for record in survey.records:
            for file in list_record_files(record):
                record_of.setdefault(file, record)
        wrong = {problem.file for problem in survey.problems if problem.is_error}
        lost = {problem.file for problem in survey.problems if problem.kind in ("missing-file", "unreadable")}
        for problem in survey.problems:
            record = record_of.get(problem.file, {})
            shown = samples.setdefault(problem.kind, [])
            if not record or record["file_name"] in lost or len(shown) == SHOWN:
                continue
            if all(sample.record is not record for sample in shown):
                shown.append(Sample(survey.name, record, wrong.isdisjoint(list_record_files(record)), str(problem)))
    return {kind: shown for kind, shown in samples.items() if shown}


def good_samples(survey: Survey) -> list[Sample]:
    """Records without a problem, evenly from the whole data set."""
    named = {problem.file for problem in survey.problems}
    good = [record for record in survey.records if named.isdisjoint(list_record_files(record))]
    chosen = sorted({round(place) for place in np.linspace(0, len(good) - 1, SHOWN)}) if good else []
    return [Sample(survey.name, good[i], True, str(good[i]["file_name"])) for i in chosen]


def draw_sample(sample: Sample, metadata: Any) -> np.ndarray:
    """The image beside its ground truth.

    Args:
        sample: of a data set.
        metadata: of the data set.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        DataError: the image can't be read.
    """
    if sample.is_sound:
        return draw_ground_truth(sample.record, metadata)
    record = sample.record
    image = read_image(record["file_name"], "RGB")
    same_size = image.shape[:2] == (record["height"], record["width"])
    ground_truth = readable_ground_truth(record, ClassTable.from_metadata(metadata)) if same_size else {}
    return draw_panels(image, ground_truth, metadata)


def readable_ground_truth(record: Record, table: ClassTable) -> dict[str, Any]:
    """As `read_ground_truth`, without what is wrong: values that are no class are void, wrong segments and instances left out.

    Args:
        record: of a data set.
        table: of the data set.

    Returns:
        Any of `sem_seg_labels`, `panoptic_seg` and `instances`.
    """
    record = dict(record)
    ground_truth: dict[str, Any] = {}
    if record.get("sem_seg_file_name"):
        with suppress(DataError):
            ground_truth["sem_seg_labels"] = torch.from_numpy(read_semantic_ground_truth(record, table, _ignore))
    if record.get("pan_seg_file_name"):
        with suppress(DataError):
            ids, segments = read_segments(record, table, _ignore)
            right = {segment.id for segment in segments}
            infos = [info for info in record["segments_info"] if info["id"] in right]
            ground_truth["panoptic_seg"] = (torch.from_numpy(ids), infos)
    if record.get("annotations"):
        image = {key: record[key] for key in ("file_name", "height", "width")}
        sound = [a for a in record["annotations"] if _is_sound({**image, "annotations": [a]}, table)]
        ground_truth |= read_ground_truth({**image, "annotations": sound}, table)
    return ground_truth


def _ignore(problem: Problem) -> None:
    pass


def _is_sound(record: dict[str, Any], table: ClassTable) -> bool:
    """Whether the only annotation of a record can be drawn; its masks are not looked at before."""
    found: list[Problem] = []
    check_record(record, table, found.append)
    return not any(problem.is_error and problem.record for problem in found)
