"""COCO-Stuff 10k: 80 things and 91 kinds of stuff, semantic labels alone; 9,000 images to train on and 1,000 to test.

The files are those of version 1.0 (Caesar, Uijlings, Ferrari, CVPR 2018; github.com/nightrome/cocostuff10k) as
MaskFormer, a Detectron2 project too, prepares them: its datasets/prepare_coco_stuff_10k_v1.0_sem_seg.py sorts the
images by split, and turns the download's labels, where 1 is unlabelled and classes count from 2, into 0 .. 170 and 255.

mmsegmentation's preparation is another: its <name>_labelTrainIds.png have 0 where there is no class and 1 .. 171. They
are not taken for these, which have the name of their image.
"""

from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from unified_seg.data.datasets.semantic_folder import load_semantic_folder, semantic_metadata
from unified_seg.functional.class_table import bit_palette

# Official ids 92 to 182 (labels.txt of github.com/nightrome/cocostuff), in that order. They are not those of COCO's
# panoptic challenge, which merged them to 53.
STUFF_NAMES = """
    banner blanket branch bridge building-other bush cabinet cage cardboard carpet ceiling-other ceiling-tile cloth
    clothes clouds counter cupboard curtain desk-stuff dirt door-stuff fence floor-marble floor-other floor-stone
    floor-tile floor-wood flower fog food-other fruit furniture-other grass gravel ground-other hill house leaves
    light mat metal mirror-stuff moss mountain mud napkin net paper pavement pillow plant-other plastic platform
    playingfield railing railroad river road rock roof rug salad sand sea shelf sky-other skyscraper snow
    solid-other stairs stone straw structural-other table tent textile-other towel tree vegetable wall-brick
    wall-concrete wall-other wall-panel wall-stone wall-tile wall-wood water-other waterdrops window-blind
    window-other wood
"""
HOW_TO_GET = (
    "cocostuff-10k-v1.0.zip has the images and labels, MaskFormer's prepare_coco_stuff_10k_v1.0_sem_seg.py writes "
    "images_detectron2 and annotations_detectron2; see datasets/README.md, or set DETECTRON2_DATASETS to the folder "
    "that holds your data sets"
)


def coco_stuff10k_metadata() -> dict[str, Any]:
    """Metadata in Detectron2's terms: things, in COCO's order, then stuff; all of them semantic classes alone."""
    things = [category["name"] for category in COCO_CATEGORIES if category["isthing"]]
    names = [*things, *STUFF_NAMES.split()]
    return semantic_metadata(names, bit_palette(len(names)))


def register_coco_stuff10k(name: str, root: Path, split: str) -> None:
    """Register one split; files are read when the data set is first used."""
    DatasetCatalog.register(name, lambda: load_coco_stuff10k(root, split))
    MetadataCatalog.get(name).set(**coco_stuff10k_metadata())


def load_coco_stuff10k(root: Path, split: str) -> list[dict[str, Any]]:
    """The records of one split.

    Args:
        root: coco/coco_stuff_10k, with images_detectron2/{train,test}/*.jpg and
            annotations_detectron2/{train,test}/*.png.
        split: "train" or "test".

    Raises:
        DataError: a folder, image or label that is not there.
    """
    return load_semantic_folder(
        root / "images_detectron2" / split, root / "annotations_detectron2" / split, how_to_get=HOW_TO_GET
    )
