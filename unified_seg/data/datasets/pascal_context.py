"""Pascal-Context: 59 classes and the background on images of VOC 2010, semantic labels alone.

4,998 images to train on and 5,105 to validate (Mottaghi et al., CVPR 2014). The authors labeled 459 classes; the 59
most frequent are what papers use. datasets/prepare_pascal_context.py makes the files from the authors' own: 0 is the
background, 1 .. 59 are the classes in the order of their ids among the 459, which is the alphabet's, as in
mmsegmentation.

Other code orders the 59 otherwise, VOC's classes first, say: its labels have the same ids with other meanings, which
nothing can tell from the files.
"""

from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg.data.datasets.semantic_folder import load_semantic_folder, read_names, semantic_metadata
from unified_seg.structures.class_table import make_voc_palette

# Spelled as in the authors' list of 459: VOC's diningtable is its table.
CLASS_NAMES = """
    aeroplane bag bed bedclothes bench bicycle bird boat book bottle building bus cabinet car cat ceiling chair
    cloth computer cow cup curtain dog door fence floor flower food grass ground horse keyboard light motorbike
    mountain mouse person plate platform pottedplant road rock sheep shelves sidewalk sign sky snow sofa table track
    train tree truck tvmonitor wall water window wood
"""
IMAGES = {"train": 4_998, "val": 5_105}
HOW_TO_GET = (
    "put VOCtrainval_03-May-2010.tar and trainval.tar.gz and labels.txt of Pascal-Context into the folder VOC2010 and "
    "run python datasets/prepare_pascal_context.py; see datasets/README.md, or set DETECTRON2_DATASETS to the folder "
    "that holds your data sets"
)


def pascal_context60_metadata() -> dict[str, Any]:
    """Metadata in Detectron2's terms; the background is a class, and black."""
    names = ["background", *CLASS_NAMES.split()]
    return semantic_metadata(names, make_voc_palette(len(names), first=0))


def register_pascal_context60(name: str, root: Path, split: str) -> None:
    """Register one split; files are read when the data set is first used."""
    DatasetCatalog.register(name, lambda: load_pascal_context60(root, split))
    MetadataCatalog.get(name).set(**pascal_context60_metadata())


def load_pascal_context60(root: Path, split: str) -> list[dict[str, Any]]:
    """The records of one split, in the order of its list.

    Args:
        root: VOC2010, with JPEGImages/*.jpg, SegmentationClassContext/*.png and
            ImageSets/SegmentationContext/{train,val}.txt.
        split: "train" or "val".

    Raises:
        DataError: a list, folder, image or label that is not there, or a list that is none of image names.
    """
    names = read_names(root / "ImageSets" / "SegmentationContext" / f"{split}.txt", HOW_TO_GET)
    return load_semantic_folder(root / "JPEGImages", root / "SegmentationClassContext", names, how_to_get=HOW_TO_GET)
