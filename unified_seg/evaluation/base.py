"""What all evaluators share: one item per image, each image once, one result over all processes."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import ClassTable

Record = dict[str, Any]
Output = Mapping[str, Any]
Scores = dict[str, float]
Item = TypeVar("Item")

logger = logging.getLogger(__name__)


class PerImageEvaluator(DatasetEvaluator, Generic[Item]):
    """Reduces every image to a small item as it comes and makes the scores from all items in the end.

    A subclass implements `score_image` and `summarize`. The ground truth comes from the data set's own records, found by
    image id: a model's inputs need nothing but "image_id", and Detectron2's mapper may strip them of the rest.

    Args:
        table: the classes.
        records: the data set as Detectron2's catalog gives it; image_id and file_name must be unique.
        output_folder: where files of results go; made if need be. All processes must see the same folder.

    Raises:
        ValueError: no records, or two with one image id or one file name.
        DataError: a record whose file of ground truth is missing.
    """

    # Keys of files of ground truth, of which every record must have one; () if the evaluator reads none.
    ground_truth_files: tuple[str, ...] = ()

    def __init__(self, table: ClassTable, records: Sequence[Record], output_folder: str | Path):
        self.table = table
        self.records = _by_image_id(records)
        if self.ground_truth_files:
            require_files(records, *self.ground_truth_files)
        self.output_folder = Path(output_folder)
        self.output_folder.mkdir(parents=True, exist_ok=True)
        self._items: dict[Any, Item] = {}

    def score_image(self, record: Record, output: Output) -> Item:
        """What is kept of one image; picklable and small, since a whole data set of them is held and gathered."""
        raise NotImplementedError

    def summarize(self, items: dict[Any, Item]) -> dict[str, Scores]:
        """Task -> metric -> percent, from the items of all processes by image id, in the order of the records."""
        raise NotImplementedError

    def reset(self) -> None:
        self._items = {}

    def process(self, inputs: Sequence[Record], outputs: Sequence[Output]) -> None:
        for given, output in zip(inputs, outputs, strict=True):
            image_id = given["image_id"]
            if image_id not in self.records:
                raise ValueError(f"the image {image_id!r} is not of the data set that is evaluated")
            if image_id in self._items:
                raise ValueError(f"the image {image_id!r} came twice; each image is scored once")
            self._items[image_id] = self.score_image(self.records[image_id], output)

    def evaluate(self) -> dict[str, Scores] | None:
        """The scores on the main process, None on the others.

        Raises:
            ValueError: no image at all, or one that two processes saw (a sampler that pads its shares).
        """
        parts = comm.gather(self._items)
        if not comm.is_main_process():
            return None
        merged: dict[Any, Item] = {}
        for part in parts:
            twice = merged.keys() & part.keys()
            if twice:
                raise ValueError(f"{len(twice)} images came to two processes, such as {min(map(str, twice))!r}")
            merged.update(part)
        if not merged:
            raise ValueError(f"{type(self).__name__} saw no image: there is nothing to evaluate")
        if len(merged) < len(self.records):
            logger.warning("%s: %d of %d images evaluated", type(self).__name__, len(merged), len(self.records))
        return self.summarize({image_id: merged[image_id] for image_id in self.records if image_id in merged})


def make_file_stem(image_id: Any) -> str:
    """A file name for an image's results: one per image id, unlike base names, which two folders may share.

    Whatever is not a letter, digit or one of "_.-~" is %-escaped, so the name has neither slashes nor spaces.
    """
    return quote(str(image_id), safe="")


def require_files(records: Sequence[Record], *keys: str) -> None:
    """Look for the files of ground truth before anything is scored: each record's first of these.

    Raises:
        DataError: a record without such a file; the first one is named, and how many there are.
    """
    missing = []
    for record in records:
        named = next((record[key] for key in keys if record.get(key)), None)
        if named is None or not Path(named).is_file():
            missing.append((record, named))
    if missing:
        record, named = missing[0]
        cause = f"{named} is not there" if named else f"its record has no {' or '.join(keys)}"
        raise DataError(f"{record['file_name']}: {cause}; so it is with {len(missing)} of {len(records)} images")


def empty_folder(folder: Path) -> None:
    """Make a folder of results on the main process, without the files of an earlier evaluation; others wait."""
    if comm.is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if old.suffix in (".png", ".txt", ".json"):
                old.unlink()
    comm.synchronize()


def _by_image_id(records: Sequence[Record]) -> dict[Any, Record]:
    if not records:
        raise ValueError("the data set to evaluate has no records")
    found: dict[Any, Record] = {}
    id_of_file: dict[str, Any] = {}
    for record in records:
        image_id, file = record["image_id"], str(record["file_name"])
        if image_id in found:
            raise ValueError(f"two records have the image id {image_id!r}: {found[image_id]['file_name']} and {file}")
        if file in id_of_file:
            raise ValueError(f"two records have the file {file}: {id_of_file[file]!r} and {image_id!r}")
        found[image_id], id_of_file[file] = record, image_id
    return found
