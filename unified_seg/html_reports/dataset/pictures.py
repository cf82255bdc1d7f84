"""Pictures of records beside their ground truth, as far as it can be read.

H, W = size of the image.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from tqdm import tqdm

from unified_seg.data.coco.panoptic_segments import read_segments
from unified_seg.data.io.image_files import read_picture
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.problems import DataError, Problem
from unified_seg.data.validation.checks import check_record
from unified_seg.html_reports.dataset.samples import Record, Sample
from unified_seg.html_reports.page import Picture, encode_jpeg
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.comparison import draw_ground_truth
from unified_seg.visualization.ground_truth_outputs import read_ground_truth
from unified_seg.visualization.overview import draw_panels


def draw_pictures(samples: Sequence[Sample], progress: tqdm) -> list[Picture]:
    """Draw the samples that can be drawn: an error of the data set may make that impossible.

    Args:
        samples: of registered data sets.
        progress: advanced by one for each sample.
    """
    pictures = []
    for sample in samples:
        with suppress(ValueError):  # of which DataError is one
            drawn = draw_sample(sample, MetadataCatalog.get(sample.dataset))
            pictures.append(Picture(encode_jpeg(drawn), sample.caption))
        progress.update()
    return pictures


def draw_sample(sample: Sample, metadata: Any) -> np.ndarray:
    """Draw an image beside its ground truth.

    Args:
        sample: a record of a data set.
        metadata: of the data set.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        DataError: the image can't be read.
    """
    if not sample.has_error:
        return draw_ground_truth(sample.record, metadata)
    record = sample.record
    image = read_picture(record["file_name"])
    has_recorded_size = image.shape[:2] == (record["height"], record["width"])
    ground_truth = read_sound_ground_truth(record, ClassTable.from_metadata(metadata)) if has_recorded_size else {}
    return draw_panels(image, ground_truth, metadata)


def read_sound_ground_truth(record: Record, table: ClassTable) -> dict[str, Any]:
    """Read the ground truth of a record without its errors.

    Label ids that are no class become void; invalid segments and instances are left out, as are files that can't be
    read. Otherwise as `read_ground_truth`.

    Args:
        record: of a data set.
        table: of the data set.

    Returns:
        Any of `sem_seg_labels` (H, W), `panoptic_seg` and `instances`.
    """
    record = dict(record)
    ground_truth: dict[str, Any] = {}
    if record.get("sem_seg_file_name"):
        with suppress(DataError):
            ground_truth["sem_seg_labels"] = torch.from_numpy(read_semantic_ground_truth(record, table, _ignore))
    if record.get("pan_seg_file_name"):
        with suppress(DataError):
            ids, segments = read_segments(record, table, _ignore)
            sound_ids = {segment.id for segment in segments}
            infos = [info for info in record["segments_info"] if info["id"] in sound_ids]
            ground_truth["panoptic_seg"] = (torch.from_numpy(ids), infos)
    if record.get("annotations"):
        image = {key: record[key] for key in ("file_name", "height", "width")}
        sound = [a for a in record["annotations"] if _is_sound({**image, "annotations": [a]}, table)]
        ground_truth |= read_ground_truth({**image, "annotations": sound}, table)
    return ground_truth


def _ignore(problem: Problem) -> None:
    pass


def _is_sound(record: dict[str, Any], table: ClassTable) -> bool:
    """Return whether the only annotation of a record can be drawn."""
    found: list[Problem] = []
    check_record(record, table, found.append)
    return not any(problem.is_error and problem.record for problem in found)
