"""COCO panoptic 2017: 80 things and 53 kinds of stuff; 118,287 images to train on and 5,000 to validate.

Semantic ids are 0 to 132 in the order of Detectron2's COCO_CATEGORIES, things first, so that a thing's id is its
semantic id. There are no semantic label files: semantic labels come from the panoptic PNGs.
"""

from pathlib import Path
from typing import Any

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from unified_seg.data.coco.categories import build_class_table
from unified_seg.data.coco.panoptic_format import load_coco_panoptic
from unified_seg.data.datasets.coco_supercategories import STUFF_CATEGORIES, THING_CATEGORIES
from unified_seg.data.datasets.registration import register_dataset
from unified_seg.data.problems import MissingFileError
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable, map_classes_to_categories

IMAGES = {"train": 118_287, "val": 5_000}
HOW_TO_GET = (
    "put train2017.zip, val2017.zip and panoptic_annotations_trainval2017.zip into the folder coco and run "
    f"{format_hint('python', 'datasets/prepare_coco_panoptic.py')};"
    " see datasets/README.md, or set DETECTRON2_DATASETS to the folder that holds your data sets"
)


def build_coco_panoptic_table() -> ClassTable:
    """Return the 133 classes, with COCO's supercategories as categories."""
    category_of = map_classes_to_categories(THING_CATEGORIES | STUFF_CATEGORIES)
    return build_class_table(Path(__file__), [{**c, "supercategory": category_of[c["name"]]} for c in COCO_CATEGORIES])


def register_coco_panoptic(name: str, root: Path, split: str) -> None:
    """Register a split; files are read when the data set is first used."""
    register_dataset(
        name,
        lambda: load_coco_panoptic_2017(root, split),
        build_coco_panoptic_table(),
        panoptic_json=str(root / "annotations" / f"panoptic_{split}2017.json"),
        panoptic_root=str(root / f"panoptic_{split}2017"),
    )


def load_coco_panoptic_2017(root: Path, split: str) -> list[dict[str, Any]]:
    """Return the records of a split.

    Args:
        root: coco, with {train,val}2017/*.jpg, annotations/panoptic_{train,val}2017.json and
            panoptic_{train,val}2017/*.png.
        split: "train" or "val".

    Raises:
        DataError: a missing folder, image or label, or a JSON that contradicts them.
    """
    json_file = root / "annotations" / f"panoptic_{split}2017.json"
    if not json_file.is_file():
        raise MissingFileError(f"{json_file}: there is no such file; {HOW_TO_GET}")
    return load_coco_panoptic(
        json_file, root / f"{split}2017", root / f"panoptic_{split}2017", build_coco_panoptic_table()
    )
