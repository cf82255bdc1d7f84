"""Cityscapes' average precision of instances by cityscapesScripts, and an exporter in its format.

H, W = an image.
"""

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling as official
from cityscapesscripts.evaluation.instances2dict import instances2dict
from cityscapesscripts.helpers.labels import name2label

from unified_seg.data.io.label_files import read_label, write_array_png
from unified_seg.data.problems import DataError
from unified_seg.evaluation.base import Output, PerImageEvaluator, Record, Scores, empty_folder, make_file_stem
from unified_seg.evaluation.model_outputs import read_instances
from unified_seg.evaluation.tables import format_class_table
from unified_seg.structures.class_table import ClassTable
from unified_seg_files import write_text

logger = logging.getLogger(__name__)

Matches = dict[str, Any]  # {"groundTruth": {class: [...]}, "prediction": {class: [...]}}


class CityscapesInstanceEvaluator(PerImageEvaluator[Matches]):
    """Scores of "cityscapes_instances": AP, AP50 and AP-<class>, in percent.

    It differs from COCO's AP: ground-truth instances under 100 pixels do not count, predictions mostly on void or on
    groups are ignored, and classes without a ground-truth instance are NaN and left out of means; if no ground-truth
    instance counts, all scores are NaN. The number of detections has no limit. cityscapesScripts reads the predictions
    from the files of `CityscapesInstanceWriter`.

    Args:
        table: the classes; the things must have Cityscapes' names.
        records: the data set; each record needs instance_ids_file_name.
        output_folder: for the folder cityscapes_instances/.

    Raises:
        ValueError: Cityscapes has no class of a thing's name.
    """

    ground_truth_files = ("instance_ids_file_name",)

    def __init__(self, table: ClassTable, records: Sequence[Record], output_folder: str | Path):
        super().__init__(table, records, output_folder)
        self.writer = CityscapesInstanceWriter(table, self.output_folder)
        # A copy, since the settings of cityscapesScripts are a global variable.
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
                f"{ground_truth_file}: size {ground_truth.shape} (H, W), but its image has "
                f"{(record['height'], record['width'])}"
            )
        prediction_file = str(self.writer.write(record, output))
        with _name_file_in_errors(ground_truth_file), _restore_in1d():
            instances = instances2dict([ground_truth_file])
            return official.matchGtWithPreds([prediction_file], [ground_truth_file], instances, self.settings)[
                ground_truth_file
            ]

    def summarize(self, items: dict[Any, Matches]) -> dict[str, Scores]:
        with _restore_in1d():
            precisions = _evaluate_matches(items, self.settings)
        with warnings.catch_warnings():
            # Of numpy's mean over no value, which is NaN.
            warnings.simplefilter("ignore", RuntimeWarning)
            averages = official.computeAverages(precisions, self.settings)
        scores = {"AP": 100 * float(averages["allAp"]), "AP50": 100 * float(averages["allAp50%"])}
        for c in self.table.things:
            of_class = averages["classes"].get(c.name)
            if of_class is not None:  # Cityscapes leaves out caravans and trailers
                scores[f"AP-{c.name}"] = 100 * float(of_class["ap"])
                scores[f"AP50-{c.name}"] = 100 * float(of_class["ap50%"])
        logger.info("Cityscapes' average precision by class:\n%s", format_class_table(scores, ("AP", "AP50")))
        return {"cityscapes_instances": scores}


def _evaluate_matches(items: dict[Any, Matches], settings: Any) -> np.ndarray:
    """Return the average precision for each class and IoU threshold, (1, classes, thresholds).

    cityscapesScripts raises an IndexError where a class has objects and detections, and all of these are ignored: its
    average precision is 0, as without detections.
    """
    try:
        return official.evaluateMatches(items, settings)
    except IndexError:
        precisions = np.zeros((1, len(settings.instLabels), len(settings.overlaps)))
    single = copy.copy(settings)
    for i, name in enumerate(settings.instLabels):
        for j, threshold in enumerate(settings.overlaps):
            single.instLabels, single.overlaps = [name], [threshold]
            with contextlib.suppress(IndexError):
                precisions[:, i, j] = official.evaluateMatches(items, single)[:, 0, 0]
    return precisions


class CityscapesInstanceExporter(PerImageEvaluator[None]):
    """Writes the files of `CityscapesInstanceWriter` without scores, for images without ground truth.

    Args:
        table, output_folder: see the writer.
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
    """Writes instances in the format of Cityscapes' server under cityscapes_instances/.

    There is a text file per image (<image id>_pred.txt, with PNG, label id and score of an instance in each line), and
    a PNG per instance.

    Args:
        table: the classes; the things must have Cityscapes' names.
        output_folder: for the folder cityscapes_instances/.

    Raises:
        ValueError: Cityscapes has no class of a thing's name.
    """

    def __init__(self, table: ClassTable, output_folder: Path):
        self.table = table
        self.folder = output_folder.absolute() / "cityscapes_instances"
        unknown = [c.name for c in table.things if c.name not in name2label]
        if unknown:
            raise ValueError(f"things must have names of Cityscapes' classes, got {', '.join(unknown)}")

    def write(self, record: Record, output: Output) -> Path:
        """Write the files of one image, and return the path of the text file."""
        instances = read_instances(record, output, with_masks=True)
        stem = make_file_stem(record["image_id"])
        lines = []
        for i, (mask, thing_id, score) in enumerate(
            zip(instances.pred_masks, instances.pred_classes.tolist(), instances.scores.tolist())
        ):
            label = name2label[self.table.things[thing_id].name]
            name = f"{stem}_{i}_{label.id}.png"
            write_array_png(self.folder / name, mask.numpy())
            lines.append(f"{name} {label.id} {score!r}\n")
        path = self.folder / f"{stem}_pred.txt"
        write_text(path, "".join(lines))
        return path


@contextlib.contextmanager
def _name_file_in_errors(file_name: str) -> Iterator[None]:
    """Raise a DataError if cityscapesScripts exits the process, or does not know a label (KeyError)."""
    try:
        yield
    except (SystemExit, KeyError) as error:
        raise DataError(f"{file_name}: cityscapesScripts cannot evaluate it: {error!r}") from None


class _NumpyWithIn1d:
    """numpy with `in1d`, which cityscapesScripts 2.3 calls and numpy 2.4 does not have."""

    in1d = staticmethod(np.isin)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@contextlib.contextmanager
def _restore_in1d() -> Iterator[None]:
    """Give the module of cityscapesScripts, and no other, a numpy with `in1d`."""
    original = official.np
    official.np = _NumpyWithIn1d()
    try:
        yield
    finally:
        official.np = original
