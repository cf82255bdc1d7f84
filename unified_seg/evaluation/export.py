"""Exporters: evaluators that write predictions as files for other tools and servers, without ground truth and scores.

H, W = an image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.coco.categories import to_coco_categories
from unified_seg.data.io.label_files import write_array_png, write_png
from unified_seg.data.io.text_files import write_json
from unified_seg.evaluation.base import (
    Output,
    PerImageEvaluator,
    Record,
    Scores,
    empty_folder,
    list_coco_images,
    make_file_stem,
)
from unified_seg.evaluation.model_outputs import find_segment_class, read_labels, read_panoptic
from unified_seg.structures.class_table import ClassTable


class CocoPanopticExporter(PerImageEvaluator[dict[str, Any]]):
    """Writes COCO's panoptic format under panoptic/: a PNG per image, named by the image id, and predictions.json.

    Args:
        table: the classes.
        records: the data set.
        output_folder: for the folder panoptic/; its older PNGs and JSONs are deleted.
    """

    def __init__(self, table: ClassTable, records: Sequence[Record], output_folder: str | Path):
        super().__init__(table, records, output_folder)
        self.folder = self.output_folder / "panoptic"

    def reset(self) -> None:
        super().reset()
        empty_folder(self.folder)

    def score_image(self, record: Record, output: Output) -> dict[str, Any]:
        ids, infos = read_panoptic(record, output)
        annotation = {
            "image_id": record["image_id"],
            "file_name": f"{make_file_stem(record['image_id'])}.png",
            "segments_info": [
                {"id": int(info["id"]), "category_id": find_segment_class(record, info, self.table).dataset_id}
                for info in infos
            ],
        }
        write_png(self.folder / annotation["file_name"], ids)
        return annotation

    def summarize(self, items: dict[Any, dict[str, Any]]) -> dict[str, Scores]:
        content = {
            "images": list_coco_images(self.records[image_id] for image_id in items),
            "annotations": list(items.values()),
            "categories": to_coco_categories(self.table.classes),
        }
        write_json(self.folder / "predictions.json", content, indent=None)
        return {}


class CityscapesSemanticExporter(PerImageEvaluator[None]):
    """Writes semantic maps in the format of Cityscapes' server under sem_seg_cityscapes/: <image id>_pred.png.

    The pixels are dataset ids (Cityscapes' label ids, not its train ids), of two bytes if one is above 255.
    evalPixelLevelSemanticLabeling of cityscapesScripts finds the files by their names if the image ids are Cityscapes'
    <city>_<sequence>_<frame>.

    Args:
        table: the classes.
        records: the data set.
        output_folder: for the folder sem_seg_cityscapes/; its older PNGs are deleted.

    Raises:
        ValueError: several classes share a semantic id, or a dataset id does not fit into two bytes.
    """

    def __init__(self, table: ClassTable, records: Sequence[Record], output_folder: str | Path):
        super().__init__(table, records, output_folder)
        self.folder = self.output_folder / "sem_seg_cityscapes"
        if len(table.classes) != table.num_semantic:
            raise ValueError("several classes share a semantic id, so semantic maps cannot be written as dataset ids")
        ids = [c.dataset_id for c in table.classes]  # ascending by semantic id
        if not all(0 <= i <= 65535 for i in ids):
            raise ValueError(f"dataset ids must be in 0 .. 65535 for label maps, got {min(ids)} .. {max(ids)}")
        self.dataset_ids = np.array(ids, dtype=np.uint8 if max(ids) <= 255 else np.uint16)

    def reset(self) -> None:
        super().reset()
        empty_folder(self.folder)

    def score_image(self, record: Record, output: Output) -> None:
        labels = read_labels(record, output)
        if labels.min() < 0 or labels.max() >= len(self.dataset_ids):
            raise ValueError(
                f"image {record['image_id']!r}: semantic ids must be classes (0 .. {len(self.dataset_ids) - 1}), got "
                f"{labels.min()} .. {labels.max()}"
            )
        name = f"{make_file_stem(record['image_id'])}_pred.png"
        write_array_png(self.folder / name, self.dataset_ids[labels])

    def summarize(self, items: dict[Any, None]) -> dict[str, Scores]:
        return {}
