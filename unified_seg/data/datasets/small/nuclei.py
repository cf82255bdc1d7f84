"""Nuclei: the microscope images of 256x256 of the Data Science Bowl 2018, stage 1, panoptic; 1 thing, the nucleus.

Source: Caicedo et al., Nucleus segmentation across imaging experiments (2019). The challenge has no validation images
with masks: `val` are 63 of its 334 training images of this size, every fifth of all training images by name.
"""

from pathlib import Path
from typing import Any

from unified_seg.data.datasets.small.panoptic_splits import register_panoptic_split
from unified_seg.hints import format_hint

IMAGES = {"train": 271, "val": 63}
CATEGORIES: list[dict[str, Any]] = [
    {"id": 0, "name": "background", "isthing": 0, "color": [20, 20, 60]},
    {"id": 1, "name": "nucleus", "isthing": 1, "color": [250, 200, 60]},
]
HOW_TO_GET = (
    "put kaggle-dsbowl-2018-dataset-fixes-master.zip into the folder nuclei and run "
    f"{format_hint('python', 'datasets/prepare_nuclei.py')};"
    " see datasets/README.md, or set DETECTRON2_DATASETS to the folder that holds your data sets"
)


def register_nuclei(name: str, root: Path, split: str) -> None:
    """Register "train" or "val" of the folder nuclei; files are read when the data set is first used."""
    register_panoptic_split(name, root, split, CATEGORIES, HOW_TO_GET)
