"""The Crop/Weed Field Image Dataset: photos of carrots and weeds at half size, 648x483, panoptic.

Source: Haug and Ostermann, A Crop/Weed Field Image Dataset for the Evaluation of Computer Vision Based Precision
Agriculture Tasks (2014), with its split. Crop and weed are things that look alike, of one category. Image 028 is in
both of its splits.
"""

from pathlib import Path
from typing import Any

from unified_seg.data.datasets.small.panoptic_splits import register_panoptic_split
from unified_seg.hints import format_hint

IMAGES = {"train": 40, "test": 21}
CATEGORIES: list[dict[str, Any]] = [
    {"id": 0, "name": "soil", "isthing": 0, "supercategory": "ground", "color": [110, 80, 50]},
    {"id": 1, "name": "crop", "isthing": 1, "supercategory": "plant", "color": [0, 200, 0]},
    {"id": 2, "name": "weed", "isthing": 1, "supercategory": "plant", "color": [220, 40, 40]},
]
HOW_TO_GET = (
    "put dataset-master.zip of the Crop/Weed Field Image Dataset into the folder cropweed and run "
    f"{format_hint('python', 'datasets/prepare_cropweed.py')};"
    " see datasets/README.md, or set DETECTRON2_DATASETS to the folder that holds your data sets"
)


def register_cropweed(name: str, root: Path, split: str) -> None:
    """Register "train" or "test" of the folder cropweed; files are read when the data set is first used."""
    register_panoptic_split(name, root, split, CATEGORIES, HOW_TO_GET)
