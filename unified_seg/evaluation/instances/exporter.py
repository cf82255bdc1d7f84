"""Detections in COCO's result format."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unified_seg.data.coco.categories import to_coco_categories
from unified_seg.data.io.text_files import write_json
from unified_seg.evaluation.base import Output, PerImageEvaluator, Record, Scores, list_coco_images
from unified_seg.evaluation.instances.objects import Detection, read_detections
from unified_seg.structures.class_table import ClassTable


class InstanceExporter(PerImageEvaluator[list[Detection]]):
    """Writes coco_instances_results.json without scores, for images without ground truth.

    Also writes coco_images.json, the images and categories that it refers to: `pycocotools.coco.COCO` reads this file,
    and its `loadRes` then the results.

    Args:
        table: the classes.
        records: the data set.
        output_folder: for the files.
        with_masks: whether the model predicts masks.
    """

    def __init__(
        self, table: ClassTable, records: Sequence[Record], output_folder: str | Path, with_masks: bool = True
    ):
        super().__init__(table, records, output_folder)
        self.with_masks = with_masks

    def score_image(self, record: Record, output: Output) -> list[Detection]:
        return read_detections(record, output, self.table, self.with_masks)

    def summarize(self, items: dict[Any, list[Detection]]) -> dict[str, Scores]:
        write_results(self.output_folder, self.table, items)
        content = {
            "images": list_coco_images(self.records[image_id] for image_id in items),
            "annotations": [],
            "categories": to_coco_categories(self.table.things),
        }
        write_json(self.output_folder / "coco_images.json", content, indent=None)
        return {}


def write_results(folder: Path, table: ClassTable, detections: Mapping[Any, Sequence[Detection]]) -> None:
    """Write the detections of each image, by image id, as coco_instances_results.json in COCO's result format."""
    results = []
    for image_id, of_image in detections.items():
        for detection in of_image:
            results.append(make_result(image_id, detection, table))
    write_json(folder / "coco_instances_results.json", results, indent=None)


def make_result(image_id: Any, detection: Detection, table: ClassTable) -> Record:
    """Return a detection as a record of COCO's result format."""
    category_id = table.things[detection.thing_id].dataset_id
    result = {"image_id": image_id, "category_id": category_id, "score": detection.score, "bbox": detection.box}
    return result if detection.mask is None else {**result, "segmentation": detection.mask}
