"""COCO panoptic 2017: 80 things and 53 kinds of stuff; 118,287 images to train on and 5,000 to validate.

Semantic ids are 0 .. 132 in the order of Detectron2's COCO_CATEGORIES, things first, so that a thing's id is its
semantic id. There are no semantic label files: what the semantic head learns is read from the panoptic PNGs.
"""

from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from unified_seg.data.coco.categories import build_class_table
from unified_seg.data.coco.panoptic_format import load_coco_panoptic
from unified_seg.data.datasets.coco_supercategories import STUFF_CATEGORIES, THING_CATEGORIES
from unified_seg.data.problems import MissingFileError
from unified_seg.structures.class_table import ClassTable, map_classes_to_categories

IMAGES = {"train": 118_287, "val": 5_000}
HOW_TO_GET = (
    "put train2017.zip, val2017.zip and panoptic_annotations_trainval2017.zip into the folder coco and run "
    "python datasets/prepare_coco_panoptic.py; see datasets/README.md, or set DETECTRON2_DATASETS to the folder that "
    "holds your data sets"
)


def coco_panoptic_table() -> ClassTable:
    """The 133 classes, look-alikes by COCO's supercategories."""
    category_of = map_classes_to_categories(THING_CATEGORIES | STUFF_CATEGORIES)
    return build_class_table(Path(__file__), [{**c, "supercategory": category_of[c["name"]]} for c in COCO_CATEGORIES])


def register_coco_panoptic(name: str, root: Path, split: str) -> None:
    """Register one split; files are read when the data set is first used."""
    DatasetCatalog.register(name, lambda: load_coco_panoptic_2017(root, split))
    MetadataCatalog.get(name).set(
        panoptic_json=str(root / "annotations" / f"panoptic_{split}2017.json"),
        panoptic_root=str(root / f"panoptic_{split}2017"),
        evaluator_type="unified_seg",
        **coco_panoptic_table().to_metadata(),
    )


def load_coco_panoptic_2017(root: Path, split: str) -> list[dict[str, Any]]:
    """The records of one split.

    Args:
        root: coco, with {train,val}2017/*.jpg, annotations/panoptic_{train,val}2017.json and
            panoptic_{train,val}2017/*.png.
        split: "train" or "val".

    Raises:
        DataError: a folder, image or label that is not there, or a JSON that contradicts them.
    """
    json_file = root / "annotations" / f"panoptic_{split}2017.json"
    if not json_file.is_file():
        raise MissingFileError(f"{json_file}: there is no such file; {HOW_TO_GET}")
    return load_coco_panoptic(json_file, root / f"{split}2017", root / f"panoptic_{split}2017", coco_panoptic_table())
