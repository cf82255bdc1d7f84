"""Pascal-Context: 59 classes and the background on images of VOC 2010, semantic labels only.

4,998 images to train on and 5,105 to validate (Mottaghi et al., CVPR 2014). The authors labeled 459 classes; papers use
the 59 most frequent. datasets/prepare_pascal_context.py makes the files from the authors' own: 0 is the background, 1
to 59 are the classes in alphabetical order, the order of their ids among the 459, as in mmsegmentation.

Other code has other orders of the 59, for example VOC's classes first: its labels have the same ids with other
meanings, which can't be seen in the files.
"""

from pathlib import Path
from typing import Any

from unified_seg.data.datasets.registration import register_dataset
from unified_seg.data.datasets.semantic_folder import build_semantic_table, load_semantic_folder, read_names
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable, make_voc_palette

# Spelled as in the authors' list of 459: VOC's diningtable is its table.
CLASS_NAMES = """
    aeroplane bag bed bedclothes bench bicycle bird boat book bottle building bus cabinet car cat ceiling chair
    cloth computer cow cup curtain dog door fence floor flower food grass ground horse keyboard light motorbike
    mountain mouse person plate platform pottedplant road rock sheep shelves sidewalk sign sky snow sofa table track
    train tree truck tvmonitor wall water window wood
"""
IMAGES = {"train": 4_998, "val": 5_105}
HOW_TO_GET = (
    "put VOCtrainval_03-May-2010.tar and trainval.tar.gz and labels.txt of Pascal-Context into the folder "
    "VOC2010 and run "
    f"{format_hint('python', 'datasets/prepare_pascal_context.py')};"
    " see datasets/README.md, or set DETECTRON2_DATASETS to the folder that holds your data sets"
)


def build_pascal_context60_table() -> ClassTable:
    """Return the 60 classes; the background is one of them, and black."""
    names = ["background", *CLASS_NAMES.split()]
    return build_semantic_table(names, make_voc_palette(len(names), first=0))


def register_pascal_context60(name: str, root: Path, split: str) -> None:
    """Register a split; files are read when the data set is first used."""
    register_dataset(name, lambda: load_pascal_context60(root, split), build_pascal_context60_table())


def load_pascal_context60(root: Path, split: str) -> list[dict[str, Any]]:
    """Return the records of a split, in the order of its list.

    Args:
        root: VOC2010, with JPEGImages/*.jpg, SegmentationClassContext/*.png and
            ImageSets/SegmentationContext/{train,val}.txt.
        split: "train" or "val".

    Raises:
        DataError: a missing list, folder, image or label, or not a list of image names.
    """
    names = read_names(root / "ImageSets" / "SegmentationContext" / f"{split}.txt", HOW_TO_GET)
    return load_semantic_folder(root / "JPEGImages", root / "SegmentationClassContext", names, how_to_get=HOW_TO_GET)
