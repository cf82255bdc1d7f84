"""The base classes of evaluators: one item per image, each image once, one result over all processes."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote

import numpy as np
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from unified_seg.data.coco.panoptic_segments import GroundTruthSegment, read_segments
from unified_seg.data.io.plain_images import load_panoptic_ids
from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import ClassTable
from unified_seg_files import delete_files

Record = dict[str, Any]
Output = Mapping[str, Any]
Scores = dict[str, float]
Item = TypeVar("Item")

logger = logging.getLogger(__name__)


class SparseCounts(NamedTuple):
    """Pixel counts of one image, such as a confusion matrix, as a list of the M entries that are not zero.

    Attributes:
        entries: (M,) int64 indices into the flat array of counts.
        counts: (M,) int64 pixels.
        valid_pixels: pixels with a class in the ground truth, counted independently of the array.
    """

    entries: np.ndarray
    counts: np.ndarray
    valid_pixels: int

    @classmethod
    def from_array(cls, counts: np.ndarray, valid_pixels: int) -> "SparseCounts":
        """Create the list of an array of any shape."""
        entries = np.flatnonzero(counts)
        return cls(entries, counts.reshape(-1)[entries], valid_pixels)

    def to_array(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array, int64, of a shape."""
        flat = np.zeros(math.prod(shape), dtype=np.int64)
        flat[self.entries] = self.counts
        return flat.reshape(shape)


def sum_counts(items: Iterable[SparseCounts], shape: tuple[int, ...]) -> np.ndarray:
    """Return the sum of the arrays of several images, int64, of a shape."""
    flat = np.zeros(math.prod(shape), dtype=np.int64)
    for item in items:
        flat[item.entries] += item.counts
    return flat.reshape(shape)


def compute_percent(part: int, whole: int) -> float:
    """Return the share of a part in percent; NaN if the whole is 0."""
    return 100 * float(part) / float(whole) if whole else math.nan


class PerImageEvaluator(DatasetEvaluator, Generic[Item]):
    """An evaluator that reduces each image to a small item, and computes the scores from the items of all images.

    Subclasses implement `score_image` and `summarize`. The ground truth comes from the records of the data set, by
    image id, so the model's inputs need no key but "image_id".

    Args:
        table: the classes.
        records: the data set from Detectron2's catalog; image_id and file_name must be unique.
        output_folder: for files of results; created if missing. All processes must see the same folder.

    Raises:
        ValueError: there are no records, or two have one image id or one file name.
        DataError: a file of ground truth is missing.
    """

    # The keys of ground-truth files, of which every record must have one; () if the evaluator reads no file.
    ground_truth_files: tuple[str, ...] = ()
    # What a reader of the scores of the last evaluation must know; set by `summarize`.
    notes: Sequence[str] = ()

    def __init__(self, table: ClassTable, records: Sequence[Record], output_folder: str | Path):
        self.table = table
        self.records = _index_records(records)
        if self.ground_truth_files:
            require_files(records, *self.ground_truth_files)
        self.output_folder = Path(output_folder)
        self.output_folder.mkdir(parents=True, exist_ok=True)
        self._items: dict[Any, Item] = {}

    def score_image(self, record: Record, output: Output) -> Item:
        """Compute the item of one image; it must be small and picklable, since those of all images are gathered."""
        raise NotImplementedError

    def summarize(self, items: dict[Any, Item]) -> dict[str, Scores]:
        """Compute task -> metric -> percent from the items of all processes, by image id in order of the records."""
        raise NotImplementedError

    def reset(self) -> None:
        self._items = {}

    def process(self, inputs: Sequence[Record], outputs: Sequence[Output]) -> None:
        for model_input, output in zip(inputs, outputs, strict=True):
            image_id = model_input["image_id"]
            if image_id not in self.records:
                raise ValueError(f"image {image_id!r} is not in the data set that is evaluated")
            if image_id in self._items:
                raise ValueError(f"image {image_id!r} was given twice; each image is scored once")
            self._items[image_id] = self.score_image(self.records[image_id], output)

    def evaluate(self) -> dict[str, Scores] | None:
        """Return the scores on the main process, None on the others.

        Raises:
            ValueError: there is no image, or two processes had the same one (from a sampler that pads its shares).
        """
        parts = comm.gather(self._items)
        if not comm.is_main_process():
            return None
        merged: dict[Any, Item] = {}
        for part in parts:
            duplicates = merged.keys() & part.keys()
            if duplicates:
                raise ValueError(
                    f"{len(duplicates)} images were evaluated by two processes, such as {min(map(str, duplicates))!r}"
                )
            merged.update(part)
        if not merged:
            raise ValueError(f"{type(self).__name__}: no image was evaluated")
        if len(merged) < len(self.records):
            logger.warning("%s: %d of %d images evaluated", type(self).__name__, len(merged), len(self.records))
        return self.summarize({image_id: merged[image_id] for image_id in self.records if image_id in merged})


class PanopticGroundTruth:
    """A reader of panoptic ground truth that several evaluators share, so that they read each image once.

    It caches the last image only, until the next evaluation.

    Args:
        table: the classes.
    """

    def __init__(self, table: ClassTable):
        self.table = table
        self._image_id: Any = None
        self._cached: tuple[np.ndarray, list[GroundTruthSegment]] | None = None

    def read(self, record: Record) -> tuple[np.ndarray, list[GroundTruthSegment]]:
        """Read the segment ids (H, W) and the segments of a record, which the caller must not change.

        Raises:
            DataError: see `read_segments`.
        """
        if self._cached is None or self._image_id != record["image_id"]:
            segments = read_segments(record, self.table, read=load_panoptic_ids)
            self._image_id, self._cached = record["image_id"], segments
        return self._cached

    def clear(self) -> None:
        """Drop the cached image, so that changed files are read again."""
        self._cached = None


class PanopticGroundTruthEvaluator(PerImageEvaluator[Item]):
    """The base class of evaluators that need panoptic ground truth.

    Args:
        table, records, output_folder: see `PerImageEvaluator`.
        ground_truth: a reader to share with other evaluators of the data set; by default the evaluator has its own.
    """

    def __init__(
        self,
        table: ClassTable,
        records: Sequence[Record],
        output_folder: str | Path,
        ground_truth: PanopticGroundTruth | None = None,
    ):
        super().__init__(table, records, output_folder)
        self.ground_truth = ground_truth or PanopticGroundTruth(table)

    def reset(self) -> None:
        super().reset()
        self.ground_truth.clear()


def check_unfused(num_unfused: int, num_images: int) -> None:
    """Raise ValueError if the outputs of some images, but not of all, have `unfused`."""
    if num_unfused not in (0, num_images):
        raise ValueError(
            f"'unfused' must be in the outputs of all images or of no image, got {num_unfused} of {num_images}"
        )


def make_file_stem(image_id: Any) -> str:
    """Return a file name, without suffix, that is unique to an image id, unlike the base name of the image.

    Characters other than letters, digits and "_.-~" are %-escaped, so it has neither slashes nor spaces.
    """
    return quote(str(image_id), safe="")


def list_coco_images(records: Iterable[Record]) -> list[Record]:
    """Return the records as COCO's list of `images`."""
    return [
        {"id": r["image_id"], "file_name": str(r["file_name"]), "height": r["height"], "width": r["width"]}
        for r in records
    ]


def require_files(records: Sequence[Record], *keys: str) -> None:
    """Check that the ground-truth file of each record exists: that of the first of the keys that the record has.

    Raises:
        DataError: a file is missing; the message names the first one, and the number of such records.
    """
    missing = []
    for record in records:
        named = next((record[key] for key in keys if record.get(key)), None)
        if named is None or not Path(named).is_file():
            missing.append((record, named))
    if missing:
        record, named = missing[0]
        cause = f"{named} does not exist" if named else f"its record has no {' or '.join(keys)}"
        raise DataError(f"{record['file_name']}: {cause}; in all {len(missing)} of {len(records)} images lack it")


def empty_folder(folder: Path) -> None:
    """Create a folder of results on the main process, and delete results of an earlier evaluation; others wait.

    Raises:
        OSError: the folder is a link, so that its files are those of another folder; or a file can't be deleted.
    """
    if comm.is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        delete_files(folder, (".png", ".txt", ".json"))
    comm.synchronize()


def _index_records(records: Sequence[Record]) -> dict[Any, Record]:
    if not records:
        raise ValueError("the data set to evaluate has no records")
    found: dict[Any, Record] = {}
    id_of_file: dict[str, Any] = {}
    for record in records:
        image_id, file = record["image_id"], str(record["file_name"])
        if image_id in found:
            raise ValueError(f"image_id {image_id!r} is not unique: {found[image_id]['file_name']} and {file}")
        if file in id_of_file:
            raise ValueError(f"file_name {file} is not unique: {id_of_file[file]!r} and {image_id!r}")
        found[image_id], id_of_file[file] = record, image_id
    return found
