"""The config of a training on data that were just converted."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml

from unified_seg.structures.class_table import ClassTable
from unified_seg_files import write_text

CONFIG_FILE = "config.yaml"
HEADER = """\
# Written once by `unified-seg convert`, and yours to change; it trains with
# unified-seg train --config-file {file}
# On a GPU the base is unified_seg://base/gpu.yaml, else unified_seg://base/laptop.yaml.
"""


def write_training_config(
    output: Path, images: Path, annotations: Mapping[str, Path], table: ClassTable
) -> Path | None:
    """Write config.yaml for a training, unless the folder has one.

    Args:
        output: the folder; its name is that of the data sets.
        images: their folder.
        annotations: the panoptic JSON of each split; that of "val" is for evaluation, of others for training.
        table: the classes.

    Returns:
        The file; None if there was one.
    """
    file = output / CONFIG_FILE
    if file.exists():
        return None
    name = re.sub(r"[^\w.+ -]", "_", output.resolve().name).lstrip(".+ -") or "data"  # as NAME must be
    # Absolute, since relative paths start at DETECTRON2_DATASETS.
    names = {split: f"{name}_{split}" if split else name for split in annotations}
    custom = [
        {"NAME": names[split], "IMAGES": str(images.resolve()), "PANOPTIC": str(path.resolve())}
        for split, path in annotations.items()
    ]
    bases = [f"unified_seg://base/{'gpu' if torch.cuda.is_available() else 'laptop'}.yaml"]
    if table.num_things == 0:
        bases.append("unified_seg://base/semantic_only.yaml")
    config = {
        "_BASE_": bases,
        "DATASETS": {
            "TRAIN": [names[split] for split in annotations if split != "val"],
            "TEST": [names[split] for split in annotations if split == "val"],
            "CUSTOM": custom,
        },
        "OUTPUT_DIR": f"output/{name}",
    }
    write_text(file, HEADER.format(file=file) + yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    return file
