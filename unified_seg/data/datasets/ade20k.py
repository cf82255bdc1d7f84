"""ADE20K scene parsing: 150 classes, semantic labels alone; 20,210 images to train on and 2,000 to validate.

The files are those of the MIT scene parsing challenge 2016 as Detectron2 prepares them: the download counts its classes
from 1 and has 0 for the rest, Detectron2's datasets/prepare_ade20k_sem_seg.py makes that 0 .. 149 and 255.
"""

from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import ADE20K_SEM_SEG_CATEGORIES

from unified_seg.data.datasets.semantic_folder import load_semantic_folder, semantic_metadata
from unified_seg.functional.class_table import bit_palette

FOLDERS = {"train": "training", "val": "validation"}
HOW_TO_GET = (
    "ADEChallengeData2016.zip has the images, Detectron2's datasets/prepare_ade20k_sem_seg.py writes "
    "annotations_detectron2; see datasets/README.md, or set DETECTRON2_DATASETS to the folder that holds your data sets"
)


def ade20k_metadata() -> dict[str, Any]:
    """Metadata in Detectron2's terms; Detectron2 has the names but no colours."""
    names = [name.strip() for name in ADE20K_SEM_SEG_CATEGORIES]
    return semantic_metadata(names, bit_palette(len(names)))


def register_ade20k(name: str, root: Path, split: str) -> None:
    """Register one split; files are read when the data set is first used."""
    DatasetCatalog.register(name, lambda: load_ade20k(root, split))
    MetadataCatalog.get(name).set(**ade20k_metadata())


def load_ade20k(root: Path, split: str) -> list[dict[str, Any]]:
    """The records of one split.

    Args:
        root: ADEChallengeData2016, with images/{training,validation}/*.jpg and
            annotations_detectron2/{training,validation}/*.png.
        split: "train" or "val".

    Raises:
        DataError: a folder, image or label that is not there.
    """
    folder = FOLDERS[split]
    return load_semantic_folder(
        root / "images" / folder, root / "annotations_detectron2" / folder, how_to_get=HOW_TO_GET
    )
