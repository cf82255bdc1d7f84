"""Data sets whose splits are each a folder of images, a panoptic JSON and a folder of its PNGs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unified_seg.data.coco.categories import build_class_table
from unified_seg.data.coco.panoptic_format import load_coco_panoptic
from unified_seg.data.datasets.registration import register_dataset
from unified_seg.data.problems import MissingFileError


def register_panoptic_split(
    name: str, root: Path, split: str, categories: Sequence[dict[str, Any]], how_to_get: str
) -> None:
    """Register a split; files are read when the data set is first used.

    Args:
        name: a new name.
        root: the data set's folder, with <split>/, <split>_panoptic.json and <split>_panoptic/.
        split: the name of the split.
        categories: the classes in COCO's format.
        how_to_get: how to get missing files, for errors.
    """
    json_file = get_panoptic_json(root, split)
    table = build_class_table(Path(__file__), categories)

    def load() -> list[dict[str, Any]]:
        if not json_file.is_file():
            raise MissingFileError(f"{json_file}: there is no such file; {how_to_get}")
        return load_coco_panoptic(json_file, root / split, json_file.with_suffix(""), table)

    panoptic_root = str(json_file.with_suffix(""))
    register_dataset(name, load, table, panoptic_json=str(json_file), panoptic_root=panoptic_root)


def get_panoptic_json(root: Path, split: str) -> Path:
    """Return the panoptic JSON of a split; its PNGs are in the folder of its name without .json."""
    return root / f"{split}_panoptic.json"
