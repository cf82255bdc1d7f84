"""PASCAL VOC 2012 segmentation: 20 classes and the background, semantic labels only.

1,464 images to train on and 1,449 to validate have VOC's own labels (SegmentationClass). `trainaug`, on which papers
train, has 10,582: those 1,464 and VOC images with labels of the Semantic Boundaries Dataset (Hariharan et al., ICCV
2011). All its labels are in SegmentationClassAug; no image is in `val`. datasets/prepare_voc2012.py makes it.
"""

from pathlib import Path
from typing import Any

from detectron2.data.datasets.pascal_voc import CLASS_NAMES

from unified_seg.data.datasets.registration import register_dataset
from unified_seg.data.datasets.semantic_folder import build_semantic_table, load_semantic_folder, read_names
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable, make_voc_palette, map_classes_to_categories

IMAGES = {"train": 1_464, "trainaug": 10_582, "val": 1_449}
LABEL_FOLDERS = {"train": "SegmentationClass", "trainaug": "SegmentationClassAug", "val": "SegmentationClass"}
HOW_TO_GET = (
    "put VOCtrainval_11-May-2012.tar and, for trainaug, benchmark.tgz of the Semantic Boundaries Dataset into "
    "the folder VOC2012 and run "
    f"{format_hint('python', 'datasets/prepare_voc2012.py')};"
    " see datasets/README.md, or set DETECTRON2_DATASETS to the folder that holds your data sets"
)
# The four groups of the challenge (host.robots.ox.ac.uk/pascal/VOC/voc2012, section 2).
CATEGORIES = {
    "person": "person",
    "animal": "bird, cat, cow, dog, horse, sheep",
    "vehicle": "aeroplane, bicycle, boat, bus, car, motorbike, train",
    "indoor": "bottle, chair, diningtable, pottedplant, sofa, tvmonitor",
}


def build_voc_table() -> ClassTable:
    """Return the 21 classes, with the colors of VOC's own label PNGs."""
    names = ["background", *CLASS_NAMES]
    return build_semantic_table(names, make_voc_palette(len(names), first=0), map_classes_to_categories(CATEGORIES))


def register_voc(name: str, root: Path, split: str) -> None:
    """Register a split; files are read when the data set is first used."""
    register_dataset(name, lambda: load_voc(root, split), build_voc_table())


def load_voc(root: Path, split: str) -> list[dict[str, Any]]:
    """Return the records of a split, in the order of its list.

    Args:
        root: VOC2012, with JPEGImages/*.jpg, SegmentationClass/*.png (for trainaug SegmentationClassAug/*.png) and
            ImageSets/Segmentation/<split>.txt. Labels may be gray or palette PNGs.
        split: "train", "trainaug" or "val".

    Raises:
        DataError: a missing list, folder, image or label, or not a list of image names.
    """
    names = read_names(root / "ImageSets" / "Segmentation" / f"{split}.txt", HOW_TO_GET)
    return load_semantic_folder(root / "JPEGImages", root / LABEL_FOLDERS[split], names, how_to_get=HOW_TO_GET)
