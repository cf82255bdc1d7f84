"""COCO-Stuff 10k: 80 things and 91 kinds of stuff, semantic labels only; 9,000 images to train on and 1,000 to test.

The files are those of version 1.0 (Caesar, Uijlings, Ferrari, CVPR 2018; github.com/nightrome/cocostuff10k), which
datasets/prepare_coco_stuff10k.py sorts by split; it turns the download's labels, where 1 is unlabeled and classes
count from 2, into 0 to 170 and 255. MaskFormer, also a Detectron2 project, has the same files.

mmsegmentation's preparation differs: its <name>_labelTrainIds.png have 0 for void and classes 1 to 171. They can't be
mistaken for these, which have the names of their images.
"""

from pathlib import Path
from typing import Any

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from unified_seg.data.datasets.coco_supercategories import THING_CATEGORIES
from unified_seg.data.datasets.registration import register_dataset
from unified_seg.data.datasets.semantic_folder import build_semantic_table, load_semantic_folder
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable, make_voc_palette, map_classes_to_categories

IMAGES = {"train": 9_000, "test": 1_000}
# The official hierarchy (CocoStuffClasses.m of github.com/nightrome/cocostuff10k); categories are spelled as in COCO's
# panoptic challenge, which merged the 91 kinds to 53.
STUFF_CATEGORIES = {
    "raw-material": "cardboard, paper, plastic, metal",
    "wall": "wall-tile, wall-panel, wall-wood, wall-brick, wall-stone, wall-concrete, wall-other",
    "ceiling": "ceiling-tile, ceiling-other",
    "floor": "carpet, floor-tile, floor-wood, floor-marble, floor-stone, floor-other",
    "window": "window-blind, window-other",
    "furniture-stuff": "door-stuff, desk-stuff, table, shelf, cabinet, cupboard, mirror-stuff, counter, light, stairs, "
    "furniture-other",
    "textile": "rug, mat, towel, napkin, clothes, cloth, curtain, blanket, pillow, banner, textile-other",
    "food-stuff": "fruit, salad, vegetable, food-other",
    "building": "house, skyscraper, bridge, tent, roof, building-other",
    "structural": "fence, cage, net, railing, structural-other",
    "plant": "grass, tree, bush, leaves, flower, branch, moss, straw, plant-other",
    "sky": "clouds, sky-other",
    "solid": "wood, rock, stone, mountain, hill, solid-other",
    "ground": "sand, snow, dirt, mud, gravel, road, pavement, railroad, platform, playingfield, ground-other",
    "water": "fog, river, sea, waterdrops, water-other",
}
HOW_TO_GET = (
    "put cocostuff-10k-v1.0.zip into the folder coco/coco_stuff_10k and run "
    f"{format_hint('python', 'datasets/prepare_coco_stuff10k.py')};"
    " see datasets/README.md, or set DETECTRON2_DATASETS to the folder that holds your data sets"
)


def build_coco_stuff10k_table() -> ClassTable:
    """Return the 171 classes: COCO's things in its order, then stuff by name; all are stuff in this data set."""
    things = [category["name"] for category in COCO_CATEGORIES if category["isthing"]]
    categories = map_classes_to_categories(THING_CATEGORIES | STUFF_CATEGORIES)
    names = [*things, *sorted(map_classes_to_categories(STUFF_CATEGORIES))]
    return build_semantic_table(names, make_voc_palette(len(names)), categories)


def register_coco_stuff10k(name: str, root: Path, split: str) -> None:
    """Register a split; files are read when the data set is first used."""
    register_dataset(name, lambda: load_coco_stuff10k(root, split), build_coco_stuff10k_table())


def load_coco_stuff10k(root: Path, split: str) -> list[dict[str, Any]]:
    """Return the records of a split.

    Args:
        root: coco/coco_stuff_10k, with images_detectron2/{train,test}/*.jpg and
            annotations_detectron2/{train,test}/*.png.
        split: "train" or "test".

    Raises:
        DataError: a missing folder, image or label.
    """
    return load_semantic_folder(
        root / "images_detectron2" / split, root / "annotations_detectron2" / split, how_to_get=HOW_TO_GET
    )
