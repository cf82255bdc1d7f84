"""Panoptic quality, by panopticapi.

H, W = an image.
"""

import contextlib
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from panopticapi.evaluation import PQStat, pq_compute_single_core
from PIL import Image

from unified_seg.data.segments import TrueSegment, true_segments
from unified_seg.evaluation.base import Output, PerImageEvaluator, Record, Scores, empty_folder, file_stem
from unified_seg.evaluation.outputs import panoptic_segments
from unified_seg.evaluation.tables import class_table_text
from unified_seg.functional.class_table import ClassTable, SegmentClass

MAX_SEGMENT_ID = 256**3 - 1  # what an RGB pixel holds
QUALITIES = ("PQ", "SQ", "RQ")

logger = logging.getLogger(__name__)


class ImagePanoptic(NamedTuple):
    """One image's matches, and its entry of the result file."""

    statistics: PQStat
    annotation: dict[str, Any]


class PanopticEvaluator(PerImageEvaluator[ImagePanoptic]):
    """Scores of "panoptic_seg": PQ, SQ, RQ over all classes, things (_th) and stuff (_st), and PQ-<class> and so on.

    In percent. A class that is neither true nor predicted has NaN and enters no mean, as in panopticapi; a data set
    without things has no *_th, one without stuff no *_st.

    It also writes the predictions in COCO's panoptic format, under panoptic/: a PNG per image, named by the image id,
    and predictions.json.

    Images are scored one at a time as they come, by the function that panopticapi's `pq_compute` runs in its
    workers: `pq_compute` itself starts a process per core, waits forever for one that dies, and divides by zero
    where there are no things or no stuff.

    Args:
        table: the classes.
        records: the data set; each needs pan_seg_file_name and segments_info.
        output_folder: gets the folder panoptic/.
    """

    def __init__(self, table: ClassTable, records: Sequence[Record], output_folder: str | Path):
        super().__init__(table, records, output_folder)
        self.folder = self.output_folder / "panoptic"
        self.categories = {c.dataset_id: {"id": c.dataset_id, "isthing": int(c.is_thing)} for c in table.classes}

    def reset(self) -> None:
        super().reset()
        empty_folder(self.folder)

    def score_image(self, record: Record, output: Output) -> ImagePanoptic:
        true_ids, segments = true_segments(record, self.table)
        ids, infos = panoptic_segments(record, output)
        if ids.shape != true_ids.shape:
            raise ValueError(
                f"{record['pan_seg_file_name']}: {true_ids.shape}, but the prediction is {ids.shape} (H, W)"
            )
        annotation = {
            "image_id": record["image_id"],
            "file_name": f"{file_stem(record['image_id'])}.png",
            "segments_info": [self._predicted_segment(info, record) for info in infos],
        }
        write_panoptic_png(self.folder / annotation["file_name"], ids)
        return ImagePanoptic(self._match(record, segments, annotation), annotation)

    def _predicted_segment(self, info: dict[str, Any], record: Record) -> dict[str, Any]:
        try:
            cls = self.table.segment_class(info["category_id"], bool(info["isthing"]))
        except ValueError as error:
            raise ValueError(f"image {record['image_id']!r}: predicted segment {info['id']}: {error}") from None
        return {"id": int(info["id"]), "category_id": cls.dataset_id}

    def _match(self, record: Record, segments: list[TrueSegment], annotation: dict[str, Any]) -> PQStat:
        truth = {
            "image_id": record["image_id"],
            "file_name": str(Path(record["pan_seg_file_name"]).absolute()),
            "segments_info": [
                {"id": s.id, "category_id": s.cls.dataset_id, "iscrowd": int(s.is_crowd), "area": s.area}
                for s in segments
            ],
        }
        prediction = annotation | {"segments_info": [dict(info) for info in annotation["segments_info"]]}
        silence = io.StringIO()  # panopticapi reports progress on stdout and tracebacks on stderr
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            try:
                # The truth's path is absolute, so its folder says nothing; the prediction gets panopticapi's areas.
                return pq_compute_single_core(0, [(truth, prediction)], "", str(self.folder), self.categories)
            except KeyError as error:
                raise ValueError(f"{self.folder / annotation['file_name']}: {error.args[0]}") from None

    def summarize(self, items: dict[Any, ImagePanoptic]) -> dict[str, Scores]:
        statistics = PQStat()
        for item in items.values():
            statistics += item.statistics
        self._write_predictions(items)
        classes = self.table.classes
        scores = self._qualities(statistics, classes, "")
        if np.isnan(scores["PQ"]):
            raise ValueError(f"no segment, true or predicted, in {len(items)} images: panoptic quality is not defined")
        for suffix, things in (("_th", True), ("_st", False)):
            group = [c for c in classes if c.is_thing == things]
            if group:
                scores |= self._qualities(statistics, group, suffix)
        for c in classes:
            scores |= self._qualities(statistics, [c], f"-{c.name}")
        if not all(0 <= value <= 100 for value in scores.values() if not np.isnan(value)):
            raise ValueError(f"a panoptic quality outside 0 .. 100: {scores}")
        logger.info("Panoptic quality by class:\n%s", class_table_text(scores, QUALITIES))
        return {"panoptic_seg": scores}

    def _qualities(self, statistics: PQStat, classes: Sequence[SegmentClass], suffix: str) -> Scores:
        """The means over classes that occur; NaN where none does, for which panopticapi's average divides by zero."""
        found = [statistics[c.dataset_id] for c in classes]
        if not any(s.tp + s.fp + s.fn for s in found):
            return {quality + suffix: float("nan") for quality in QUALITIES}
        means, _ = statistics.pq_average({c.dataset_id: self.categories[c.dataset_id] for c in classes}, isthing=None)
        return {quality + suffix: 100 * float(means[quality.lower()]) for quality in QUALITIES}

    def _write_predictions(self, items: dict[Any, ImagePanoptic]) -> None:
        records = [self.records[image_id] for image_id in items]
        content = {
            "images": [
                {"id": r["image_id"], "file_name": str(r["file_name"]), "height": r["height"], "width": r["width"]}
                for r in records
            ],
            "annotations": [item.annotation for item in items.values()],
            "categories": [
                {"id": c.dataset_id, "name": c.name, "isthing": int(c.is_thing), "color": list(c.color)}
                for c in self.table.classes
            ],
        }
        (self.folder / "predictions.json").write_text(json.dumps(content))


def write_panoptic_png(path: Path, ids: np.ndarray) -> None:
    """Write segment ids as COCO does: R + 256 G + 65536 B.

    Args:
        path: a .png file.
        ids: (H, W) integers, 0 to 256^3 - 1.

    Raises:
        ValueError: an id that three bytes can't hold.
    """
    if ids.min() < 0 or ids.max() > MAX_SEGMENT_ID:
        raise ValueError(f"{path}: segment ids must be 0 .. {MAX_SEGMENT_ID}, got {ids.min()} .. {ids.max()}")
    ids = ids.astype(np.int32)
    rgb = np.stack([ids & 255, (ids >> 8) & 255, ids >> 16], axis=-1).astype(np.uint8)
    # Segment maps are flat areas: the strongest compression takes several times as long and gains little.
    Image.fromarray(rgb).save(path, compress_level=1)
