"""What is written for each image, and the JSONs of all images.

A kind of --save is a `Writer`: it writes the files of one image at a time, and returns the image's entries of joined
JSONs.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from unified_seg.data.coco.categories import to_coco_categories
from unified_seg.data.io.file_system import resolve_output_below
from unified_seg.data.io.label_files import write_array_png, write_png
from unified_seg.data.io.semantic_labels import PixelValues
from unified_seg.data.io.text_files import write_json, write_json_stream
from unified_seg.evaluation.instances.exporter import make_result
from unified_seg.evaluation.instances.objects import Detection, read_detections
from unified_seg.evaluation.model_outputs import find_segment_class, get_label_map, read_labels, read_panoptic
from unified_seg.inference.files.sources import Item
from unified_seg.ops.levels import to_levels
from unified_seg.structures.class_table import ClassTable, SegmentClass

Json = dict[str, Any]
#: Yields the entries of all finished images that have a key, in the order of the images.
ReadEntries = Callable[[str], Iterator[Any]]


class PredictedImage(NamedTuple):
    """An image with a model's outputs for it, in compact form."""

    item: Item
    image: np.ndarray
    outputs: dict[str, Any]

    @property
    def record(self) -> Json:
        """The image as COCO describes it, and as evaluators read it."""
        height, width = self.image.shape[:2]
        return {"image_id": self.item.image_id, "file_name": self.item.file_name, "height": height, "width": width}


class Segment(NamedTuple):
    """A predicted panoptic segment; `score` is None for stuff."""

    id: int
    cls: SegmentClass
    area: int
    score: float | None


class Writer:
    """The base class of writers.

    Args:
        folder: of all results; a writer has folders and files of its own in it.
        table: the classes, with the ids of the data set.

    Raises:
        DataError: classes that the format can't hold.
    """

    #: The tasks of the model that are needed, see `evaluation.list_tasks`: all of them.
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path, table: ClassTable):
        self.folder = folder
        self.table = table
        #: The folders to which it writes a file of each image, with the suffix of the files there.
        self.suffixes: dict[str, str] = {}

    def write(self, predicted: PredictedImage) -> Json:
        """Write the files of an image, and return its entries of joined JSONs by key.

        Raises:
            DataError, ValueError: a prediction that can't be written.
            OSError: a file can't be written.
        """
        raise NotImplementedError

    def join(self, read: ReadEntries) -> None:
        """Write the JSONs of all images."""

    def find_path(self, kind: str, item: Item, suffix: str, *, of_each_image: bool = True) -> Path:
        """Return the path <kind>/<name><suffix> of an image; raises RecordError if it leads out of the folder."""
        if of_each_image:  # the next start predicts the images again that lack it
            self.suffixes[kind] = suffix
        return resolve_output_below(self.folder / kind, f"{item.name}{suffix}")


class SemanticWriter(Writer):
    """Semantic PNGs, semantic/<name>.png, whose pixels are the class ids of the data set."""

    needs = ("sem_seg",)

    def __init__(self, folder: Path, table: ClassTable):
        super().__init__(folder, table)
        self.values = PixelValues.from_table(table, "dataset").from_semantic

    def write(self, predicted: PredictedImage) -> Json:
        pixels = self.values[read_labels(predicted.record, predicted.outputs)]
        write_array_png(self.find_path("semantic", predicted.item, ".png"), pixels)
        return {}


class PanopticWriter(Writer):
    """COCO's panoptic format: panoptic/<name>.png and panoptic.json, in which things have a score."""

    needs = ("panoptic_seg",)

    def write(self, predicted: PredictedImage) -> Json:
        ids, _ = read_panoptic(predicted.record, predicted.outputs)
        write_png(self.find_path("panoptic", predicted.item, ".png"), ids)
        segments = []
        for s in list_segments(predicted, self.table):
            score = {} if s.score is None else {"score": s.score}
            segments.append({"id": s.id, "category_id": s.cls.dataset_id, "area": s.area, "iscrowd": 0, **score})
        file_name = f"{predicted.item.name}.png"
        return {"panoptic": {"image_id": predicted.item.image_id, "file_name": file_name, "segments_info": segments}}

    def join(self, read: ReadEntries) -> None:
        write_json_stream(
            self.folder / "panoptic.json",
            {
                "images": read("image"),
                "annotations": read("panoptic"),
                "categories": to_coco_categories(self.table.classes),
            },
        )


class InstanceWriter(Writer):
    """COCO's instance results, and coco_images.json with the images and categories that they refer to."""

    needs = ("bbox",)

    def __init__(self, folder: Path, table: ClassTable, with_masks: bool = True):
        super().__init__(folder, table)
        self.with_masks = with_masks

    def write(self, predicted: PredictedImage) -> Json:
        detections = read_detections(predicted.record, predicted.outputs, self.table, self.with_masks)
        return {"instances": [make_result(predicted.item.image_id, each, self.table) for each in detections]}

    def join(self, read: ReadEntries) -> None:
        results = (result for of_image in read("instances") for result in of_image)
        write_json_stream(self.folder / "coco_instances_results.json", results)
        content = {"images": read("image"), "annotations": [], "categories": to_coco_categories(self.table.classes)}
        write_json_stream(self.folder / "coco_images.json", content)


class JsonWriter(Writer):
    """A JSON for people and scripts, json/<name>.json, with the names of classes; and how sure the model is.

    confidence/<name>.png is the probability of each pixel's label, and error/<name>.png that it is wrong, if the model
    predicts its errors; 255 is certain.
    """

    #: The map of the probability of an error, in `semantic_logit_maps` of the outputs.
    error_map = "error"

    def __init__(self, folder: Path, table: ClassTable, with_masks: bool = True):
        super().__init__(folder, table)
        self.with_masks = with_masks
        # Each class is a group of its own.
        self.groups = torch.arange(table.num_semantic)

    def write(self, predicted: PredictedImage) -> Json:
        record, outputs = predicted.record, predicted.outputs
        content: Json = dict(record)
        labels = get_label_map(outputs)
        if labels is not None:
            content["semantic"] = self._count_pixels(read_labels(record, outputs))
            if (logits := outputs.get("semantic_logits")) is not None:
                levels, _ = logits.levels(labels, self.groups)
                write_array_png(self.find_path("confidence", predicted.item, ".png"), levels.cpu().numpy())
        if (error := outputs.get("semantic_logit_maps", {}).get(self.error_map)) is not None:
            levels = to_levels(error.probability((record["height"], record["width"])))
            # Images that were predicted in windows have none.
            path = self.find_path("error", predicted.item, ".png", of_each_image=False)
            write_array_png(path, levels.cpu().numpy())
        if "instances" in outputs:
            detections = read_detections(record, outputs, self.table, self.with_masks)
            content["instances"] = [self._describe(detection) for detection in detections]
        if "panoptic_seg" in outputs:
            content["segments"] = [
                {"id": s.id, "class": s.cls.name, "is_thing": s.cls.is_thing, "area": s.area, "score": s.score}
                for s in list_segments(predicted, self.table)
            ]
        write_json(self.find_path("json", predicted.item, ".json"), content, durable=False)
        return {}

    def _count_pixels(self, labels: np.ndarray) -> list[Json]:
        ids, counts = np.unique(labels, return_counts=True)
        names = self.table.semantic_names
        return [{"class": names[i], "pixels": count} for i, count in zip(ids.tolist(), counts.tolist())]

    def _describe(self, detection: Detection) -> Json:
        content = {"class": self.table.things[detection.thing_id].name, "score": detection.score, "box": detection.box}
        return content if detection.mask is None else {**content, "segmentation": detection.mask}


def list_segments(predicted: PredictedImage, table: ClassTable) -> list[Segment]:
    """Return the panoptic segments of an image, with their numbers of pixels.

    Raises:
        ValueError: no panoptic map, or a segment of an unknown class.
    """
    record = predicted.record
    ids, infos = read_panoptic(record, predicted.outputs)
    present, areas = np.unique(ids, return_counts=True)
    area_of = dict(zip(present.tolist(), areas.tolist()))
    segments = []
    for info in infos:
        cls, area = find_segment_class(record, info, table), area_of.get(int(info["id"]), 0)
        score = info.get("score")
        segments.append(Segment(int(info["id"]), cls, area, None if score is None else float(score)))
    return [segment for segment in segments if segment.area]
