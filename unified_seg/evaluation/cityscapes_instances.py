"""Cityscapes' own average precision of instances, by cityscapesScripts.

H, W = an image.
"""

import contextlib
import copy
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling as official
from cityscapesscripts.evaluation.instances2dict import instances2dict
from cityscapesscripts.helpers.labels import name2label
from PIL import Image

from unified_seg.data.io.image_files import read_label
from unified_seg.data.problems import DataError
from unified_seg.evaluation.base import Output, PerImageEvaluator, Record, Scores, empty_folder, make_file_stem
from unified_seg.evaluation.model_outputs import read_instances
from unified_seg.evaluation.tables import class_table_text
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable

logger = logging.getLogger(__name__)

Matches = dict[str, Any]  # {"groundTruth": {class: [...]}, "prediction": {class: [...]}}


class CityscapesInstanceEvaluator(PerImageEvaluator[Matches]):
    """Scores of "cityscapes_instances": AP, AP50 and AP-<class>, in percent.

    It differs from COCO's AP: true instances under 100 pixels don't count, predictions mostly on void or on groups
    are ignored, and classes without a true instance are NaN and enter no mean. A data set without any true instance
    that counts gets no scores, and a warning says so. cityscapesScripts reads the predictions from the files that
    `CityscapesInstanceWriter` writes.

    Args:
        table: the classes; the names of the things must be Cityscapes'.
        records: the data set; each needs instance_ids_file_name.
        output_folder: gets the folder cityscapes_instances/.

    Raises:
        ValueError: a thing class that Cityscapes does not have.
    """

    ground_truth_files = ("instance_ids_file_name",)

    def __init__(self, table: ClassTable, records: Sequence[Record], output_folder: str | Path):
        super().__init__(table, records, output_folder)
        self.writer = CityscapesInstanceWriter(table, self.output_folder)
        # cityscapesScripts keeps its settings in a module's global; a copy leaves that as it was.
        self.settings = copy.deepcopy(official.args)
        self.settings.quiet = True
        self.settings.distanceAvailable = False
        self.settings.predictionPath = str(self.writer.folder)
        official.setInstanceLabels(self.settings)

    def reset(self) -> None:
        super().reset()
        empty_folder(self.writer.folder)

    def score_image(self, record: Record, output: Output) -> Matches:
        ground_truth_file = str(Path(record["instance_ids_file_name"]).absolute())
        ground_truth = read_label(ground_truth_file)
        if ground_truth.shape != (record["height"], record["width"]):
            raise DataError(
                f"{ground_truth_file}: {ground_truth.shape}, but its image is {(record['height'], record['width'])}"
            )
        prediction_file = str(self.writer.write(record, output))
        with _errors_name(ground_truth_file), _numpy_as_cityscapes_expects():
            instances = instances2dict([ground_truth_file])
            return official.matchGtWithPreds([prediction_file], [ground_truth_file], instances, self.settings)[
                ground_truth_file
            ]

    def summarize(self, items: dict[Any, Matches]) -> dict[str, Scores]:
        with _numpy_as_cityscapes_expects():
            precisions = official.evaluateMatches(items, self.settings)
        if np.isnan(precisions).all():
            logger.warning(
                "no true instance of %s pixels in %d images: Cityscapes' average precision is not defined",
                self.settings.minRegionSizes[0],
                len(items),
            )
            return {}
        averages = official.computeAverages(precisions, self.settings)
        scores = {"AP": 100 * float(averages["allAp"]), "AP50": 100 * float(averages["allAp50%"])}
        for c in self.table.things:
            of_class = averages["classes"].get(c.name)
            if of_class is not None:  # Cityscapes does not evaluate caravans and trailers
                scores[f"AP-{c.name}"] = 100 * float(of_class["ap"])
                scores[f"AP50-{c.name}"] = 100 * float(of_class["ap50%"])
        logger.info("Cityscapes' average precision by class:\n%s", class_table_text(scores, ("AP", "AP50")))
        return {"cityscapes_instances": scores}


class CityscapesInstanceExporter(PerImageEvaluator[None]):
    """Writes what `CityscapesInstanceWriter` writes, and gives no score: for images without ground truth.

    Args:
        table, output_folder: as the writer has them.
        records: the data set.
    """

    def __init__(self, table: ClassTable, records: Sequence[Record], output_folder: str | Path):
        super().__init__(table, records, output_folder)
        self.writer = CityscapesInstanceWriter(table, self.output_folder)

    def reset(self) -> None:
        super().reset()
        empty_folder(self.writer.folder)

    def score_image(self, record: Record, output: Output) -> None:
        self.writer.write(record, output)

    def summarize(self, items: dict[Any, None]) -> dict[str, Scores]:
        return {}


class CityscapesInstanceWriter:
    """Writes instances as the benchmark's server takes them, under cityscapes_instances/.

    A text file per image (<image id>_pred.txt, a line per instance: PNG, label id, score) and a PNG per instance.

    Args:
        table: the classes; the names of the things must be Cityscapes'.
        output_folder: gets the folder cityscapes_instances/.

    Raises:
        ValueError: a thing class that Cityscapes does not have.
    """

    def __init__(self, table: ClassTable, output_folder: Path):
        self.table = table
        self.folder = output_folder.absolute() / "cityscapes_instances"
        unknown = [c.name for c in table.things if c.name not in name2label]
        if unknown:
            raise ValueError(f"Cityscapes has no class {', '.join(unknown)}")

    def write(self, record: Record, output: Output) -> Path:
        """Write one image's files; the path of the text file."""
        found = read_instances(record, output, with_masks=True)
        stem = make_file_stem(record["image_id"])
        lines = []
        for i, (mask, thing_id, score) in enumerate(
            zip(_full_masks(found.pred_masks), found.pred_classes.tolist(), found.scores.tolist())
        ):
            label = name2label[self.table.things[thing_id].name]
            name = f"{stem}_{i}_{label.id}.png"
            Image.fromarray(mask).save(self.folder / name, compress_level=1)
            lines.append(f"{name} {label.id} {score!r}\n")
        path = self.folder / f"{stem}_pred.txt"
        path.write_text("".join(lines))
        return path


def _full_masks(masks: BoxMasks) -> Iterator[np.ndarray]:
    """(H, W) bool, one at a time."""
    for window, mask in masks:
        full = np.zeros(masks.image_size, dtype=bool)
        full[window] = mask.cpu().numpy()
        yield full


@contextlib.contextmanager
def _errors_name(file_name: str) -> Iterator[None]:
    """cityscapesScripts ends the process at an error, and at an unknown label raises a bare KeyError."""
    try:
        yield
    except (SystemExit, KeyError) as error:
        raise DataError(f"{file_name}: cityscapesScripts can't evaluate it: {error!r}") from None


class _NumpyWithIn1d:
    """numpy with `in1d`, which numpy 2.4 removed and cityscapesScripts 2.3 calls."""

    in1d = staticmethod(np.isin)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@contextlib.contextmanager
def _numpy_as_cityscapes_expects() -> Iterator[None]:
    """While cityscapesScripts runs, its module (and no other) sees a numpy that has what it calls."""
    original = official.np
    official.np = _NumpyWithIn1d()
    try:
        yield
    finally:
        official.np = original
