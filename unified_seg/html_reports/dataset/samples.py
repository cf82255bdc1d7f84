"""Which records of a data set the report shows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from unified_seg.data.validation.survey import Survey, list_record_files

Record = Mapping[str, Any]

#: Pictures of each kind of problem, and of records without a problem.
NUM_SAMPLES = 3


class Sample(NamedTuple):
    """A record to draw.

    Attributes:
        dataset: the name of its data set.
        record: in Detectron2's form.
        has_error: whether an error of it is known, so that a part of its ground truth may not be readable.
        caption: the problem, or the image's file.
    """

    dataset: str
    record: Record
    has_error: bool
    caption: str


def select_problem_samples(surveys: Sequence[Survey]) -> dict[str, list[Sample]]:
    """Return the first records of each kind of problem, without those whose image can't be read.

    Returns:
        By kind, at most `NUM_SAMPLES` each; kinds without such a record are left out.
    """
    samples: dict[str, list[Sample]] = {}
    for survey in surveys:
        record_of: dict[str, dict[str, Any]] = {}
        for record in survey.records:
            for file in list_record_files(record):
                record_of.setdefault(file, record)
        faulty = {problem.file for problem in survey.problems if problem.is_error}
        unreadable = {problem.file for problem in survey.problems if problem.kind in ("missing-file", "unreadable")}
        for problem in survey.problems:
            record = record_of.get(problem.file, {})
            of_kind = samples.setdefault(problem.kind, [])
            if not record or record["file_name"] in unreadable or len(of_kind) == NUM_SAMPLES:
                continue
            if all(sample.record is not record for sample in of_kind):
                has_error = not faulty.isdisjoint(list_record_files(record))
                of_kind.append(Sample(survey.name, record, has_error, str(problem)))
    return {kind: of_kind for kind, of_kind in samples.items() if of_kind}


def select_sound_samples(survey: Survey) -> list[Sample]:
    """Return at most `NUM_SAMPLES` records without a problem, evenly spaced over the data set."""
    faulty = {problem.file for problem in survey.problems}
    sound = [record for record in survey.records if faulty.isdisjoint(list_record_files(record))]
    chosen = sorted({round(place) for place in np.linspace(0, len(sound) - 1, NUM_SAMPLES)}) if sound else []
    return [Sample(survey.name, sound[i], False, str(sound[i]["file_name"])) for i in chosen]
