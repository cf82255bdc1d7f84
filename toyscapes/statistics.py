"""Class statistics of a generated data set."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from toyscapes.labels import CATEGORIES
from toyscapes.writing import panoptic_json_path


@dataclass(frozen=True)
class ClassShare:
    """One class in one split: share of pixels and of images, both in [0, 1], and number of instances (0 for stuff)."""

    name: str
    pixels: float
    images: float
    instances: int


def compute_class_shares(output: str | os.PathLike, split: str) -> list[ClassShare]:
    """Compute the statistics of a split per class, in the order of Cityscapes, followed by "void" for all other pixels.

    Raises:
        FileNotFoundError: the split has not been generated.
    """
    index = json.loads(panoptic_json_path(Path(output), split).read_text())
    total = sum(image["height"] * image["width"] for image in index["images"])
    found = index["annotations"]
    shares = []
    for category in CATEGORIES:
        segments = [[s for s in image["segments_info"] if s["category_id"] == category["id"]] for image in found]
        pixels = sum(s["area"] for image in segments for s in image)
        instances = sum(not s["iscrowd"] for image in segments for s in image) if category["isthing"] else 0
        seen = sum(map(bool, segments))
        shares.append(ClassShare(category["name"], pixels / max(total, 1), seen / max(len(found), 1), instances))
    void = 1.0 - sum(share.pixels for share in shares) if total else 0.0
    return [*shares, ClassShare("void", void, 1.0 if void else 0.0, 0)]
