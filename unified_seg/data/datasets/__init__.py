"""Data sets by name; importing registers them. Names start with `unified_`, since Detectron2 has the plain ones.

Their folders are under DETECTRON2_DATASETS (default ./datasets):

| name                              | folder           | content                               |
| unified_toyscapes_demo_<split>    | toyscapes_demo   | Toyscapes, preset demo                |
| unified_toyscapes_<split>         | toyscapes        | Toyscapes, preset standard, 128x256   |
| unified_toyscapes_256x512_<split> | toyscapes_256x512| the same scenes, larger               |
| unified_toyscapes_512x1024_<split>| toyscapes_512x1024|                                      |
| unified_cityscapes_<split>        | cityscapes       | Cityscapes, fine annotations          |
| unified_coco_panoptic_<split>     | coco             | COCO panoptic 2017                    |
| unified_ade20k_<split>            | ADEChallengeData2016 | ADE20K scene parsing, semantic    |
| unified_ade20k_panoptic_<split>   | ADEChallengeData2016 | the same, 100 classes are things  |
| unified_voc2012_<split>           | VOC2012          | PASCAL VOC 2012, semantic             |
| unified_coco_stuff10k_<split>     | coco/coco_stuff_10k | COCO-Stuff 10k, semantic           |
| unified_pascal_context60_<split>  | VOC2010          | Pascal-Context, 59 classes and the background |
| unified_camvid_<split>            | camvid           | CamVid of SegNet, 11 classes, semantic |
| unified_nuclei_<split>            | nuclei           | nuclei of the Data Science Bowl 2018  |
| unified_cropweed_<split>          | cropweed         | Crop/Weed Field Image Dataset         |

Those of DATASETS.CUSTOM are registered by `custom`. `registration` makes metadata of a class table and reads it again.
`semantic_folder` loads the data sets with semantic labels only.
"""

import os
from pathlib import Path

from unified_seg.data.datasets.ade20k import register_ade20k, register_ade20k_panoptic
from unified_seg.data.datasets.cityscapes import register_cityscapes_like
from unified_seg.data.datasets.coco_panoptic_2017 import register_coco_panoptic
from unified_seg.data.datasets.coco_stuff import register_coco_stuff10k
from unified_seg.data.datasets.pascal_context import register_pascal_context60
from unified_seg.data.datasets.small import register_camvid, register_cropweed, register_nuclei
from unified_seg.data.datasets.voc import register_voc

TOYSCAPES_VARIANTS = ("", "_demo", "_256x512", "_512x1024")


def get_datasets_root() -> Path:
    """Return the folder of all data sets."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()


def register_all(root: Path) -> None:
    """Register this project's data sets as folders of `root`."""
    for variant in TOYSCAPES_VARIANTS:
        for split in ("train", "heldout", "val"):
            register_cityscapes_like(f"unified_toyscapes{variant}_{split}", root / f"toyscapes{variant}", split)
    for split in ("train", "val", "test"):
        register_cityscapes_like(f"unified_cityscapes_{split}", root / "cityscapes", split)
    for split in ("train", "val"):
        register_coco_panoptic(f"unified_coco_panoptic_{split}", root / "coco", split)
        register_ade20k(f"unified_ade20k_{split}", root / "ADEChallengeData2016", split)
        register_ade20k_panoptic(f"unified_ade20k_panoptic_{split}", root / "ADEChallengeData2016", split)
    for split in ("train", "trainaug", "val"):
        register_voc(f"unified_voc2012_{split}", root / "VOC2012", split)
    for split in ("train", "test"):
        register_coco_stuff10k(f"unified_coco_stuff10k_{split}", root / "coco" / "coco_stuff_10k", split)
    for split in ("train", "val"):
        register_pascal_context60(f"unified_pascal_context60_{split}", root / "VOC2010", split)
        register_nuclei(f"unified_nuclei_{split}", root / "nuclei", split)
    for split in ("train", "val", "trainval", "test"):
        register_camvid(f"unified_camvid_{split}", root / "camvid", split)
    for split in ("train", "test"):
        register_cropweed(f"unified_cropweed_{split}", root / "cropweed", split)


register_all(get_datasets_root())
