"""Small maps and masks drawn as text, and small class tables."""

import torch
from torch import Tensor

from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable, SegmentClass


def draw_map(text: str, dtype: torch.dtype = torch.int64) -> Tensor:
    """Return a map (H, W); a word is a row, a digit a pixel."""
    return torch.tensor([[int(digit) for digit in row] for row in text.split()], dtype=dtype)


def draw_masks(texts: list[str], size: tuple[int, ...]) -> BoxMasks:
    """Return one mask per text, with 1 inside the instance."""
    full = torch.stack([draw_map(text).bool() for text in texts]) if texts else torch.zeros(0, *size).bool()
    return BoxMasks.from_full(full)


def make_table(*classes: tuple[str, int, int | None, str], ignore_label: int = 255) -> ClassTable:
    """Return a table of classes (name, semantic id, thing id, category), whose dataset ids count from 1."""
    black = (0, 0, 0)
    entries = [
        SegmentClass(name, semantic_id, thing_id, dataset_id, category, black)
        for dataset_id, (name, semantic_id, thing_id, category) in enumerate(classes, start=1)
    ]
    return ClassTable(entries, ignore_label)


#: As Cityscapes: semantic ids over all classes, of which the last four are the thing ids 0 to 3.
STREET_CLASSES = (
    ("road", 0, None, "flat"),
    ("sky", 1, None, "sky"),
    ("person", 2, 0, "human"),
    ("rider", 3, 1, "human"),
    ("car", 4, 2, "vehicle"),
    ("truck", 5, 3, "vehicle"),
)
STREET = make_table(*STREET_CLASSES)
PERSON, RIDER, CAR, TRUCK = range(4)  # thing ids
THINGS_ONLY = make_table(("cat", 0, 0, "pet"), ("dog", 1, 1, "pet"))
STUFF_ONLY = make_table(("a", 0, None, "a"), ("b", 1, None, "b"))
#: As COCO separated: semantic id 0 is shared by all things.
SEPARATED = make_table(
    ("person", 0, 0, "person"),
    ("car", 0, 1, "car"),
    ("grass", 1, None, "grass"),
    ("sky", 2, None, "sky"),
    ("water", 3, None, "water"),
)
TABLES = [STREET, SEPARATED, THINGS_ONLY, STUFF_ONLY]
