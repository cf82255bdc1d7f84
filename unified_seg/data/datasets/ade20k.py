"""ADE20K scene parsing: 150 classes; 20,210 images to train on and 2,000 to validate.

`unified_ade20k_*` has semantic labels only, those of the MIT scene parsing challenge 2016. `unified_ade20k_panoptic_*`
has instances too, those of the Places challenge 2017 (github.com/CSAILVision/placeschallenge) for 100 of the classes;
the other 50 are stuff. datasets/prepare_ade20k.py makes the files of both from the downloads.
"""

from pathlib import Path
from typing import Any

from detectron2.data.datasets.builtin_meta import ADE20K_SEM_SEG_CATEGORIES

from unified_seg.data.coco.categories import build_class_table
from unified_seg.data.coco.panoptic_format import load_coco_panoptic
from unified_seg.data.datasets.registration import register_dataset
from unified_seg.data.datasets.semantic_folder import build_semantic_table, load_semantic_folder
from unified_seg.data.problems import MissingFileError
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable

FOLDERS = {"train": "training", "val": "validation"}
IMAGES = {"train": 20_210, "val": 2_000}
HOW_TO_GET = (
    "put ADEChallengeData2016.zip and, for instances, annotations_instance.tar into the folder "
    "ADEChallengeData2016 and run "
    f"{format_hint('python', 'datasets/prepare_ade20k.py')};"
    " see datasets/README.md, or set DETECTRON2_DATASETS to the folder that holds your data sets"
)

# The classes with instances, by the first of their names. The challenge numbers them 1 to 100 in this order, which is
# that of the 150 (its instanceInfo100_train.txt, with some names from WordNet).
THINGS = """
    bed, window, cabinet, person, door, table, curtain, chair, car, painting, sofa, shelf, mirror, armchair, seat,
    fence, desk, wardrobe, lamp, tub, rail, cushion, box, column, signboard, chest of drawers, counter, sink, fireplace,
    refrigerator, stairs, case, pool table, pillow, screen door, bookcase, coffee table, toilet, flower, book, bench,
    countertop, stove, palm, kitchen island, computer, swivel chair, boat, arcade machine, bus, towel, light, truck,
    chandelier, awning, street lamp, booth, tv, plane, clothes, pole, bannister, ottoman, bottle, van, ship, fountain,
    washer, plaything, stool, barrel, basket, bag, minibike, oven, ball, food, step, trade name, microwave, pot, animal,
    bicycle, dishwasher, screen, sculpture, hood, sconce, vase, traffic light, tray, trash can, fan, plate, monitor,
    bulletin board, radiator, glass, clock, flag
"""

# color150.mat of github.com/CSAILVision/sceneparsing, RGB. There skyscraper (8c8cc8) has the color of road, 8c8c8c:
# this is what Mask2Former gives it.
COLORS = """
    787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33 ff0652
    8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0
    ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff
    8c8cc8 fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff
    00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99 ff5c00 ff00ff
    ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52 000aff 0070ff 3300ff 00c2ff 007aff
    00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070
    5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500
    0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff
    b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""


def list_ade20k_categories() -> list[dict[str, Any]]:
    """Return the 150 classes as COCO's panoptic categories (id, name, isthing, color), with semantic ids 0 to 149."""
    things = {name.strip() for name in THINGS.split(",")}
    return [
        {
            "id": index,
            "name": name.strip(),
            "isthing": int(name.strip().split(",")[0] in things),
            "color": list(bytes.fromhex(color)),
        }
        for index, (name, color) in enumerate(zip(ADE20K_SEM_SEG_CATEGORIES, COLORS.split()))
    ]


def build_ade20k_panoptic_table() -> ClassTable:
    """Return the 150 classes, 100 of them things; each class is its own category."""
    return build_class_table(Path(__file__), list_ade20k_categories())


def build_ade20k_table() -> ClassTable:
    """Return the 150 classes, all of them stuff."""
    categories = list_ade20k_categories()
    return build_semantic_table([c["name"] for c in categories], [tuple(c["color"]) for c in categories])


def register_ade20k(name: str, root: Path, split: str) -> None:
    """Register a split; files are read when the data set is first used."""
    register_dataset(name, lambda: load_ade20k(root, split), build_ade20k_table())


def load_ade20k(root: Path, split: str) -> list[dict[str, Any]]:
    """Return the records of a split.

    Args:
        root: ADEChallengeData2016, with images/{training,validation}/*.jpg and
            annotations_detectron2/{training,validation}/*.png.
        split: "train" or "val".

    Raises:
        DataError: a missing folder, image or label.
    """
    folder = FOLDERS[split]
    return load_semantic_folder(
        root / "images" / folder, root / "annotations_detectron2" / folder, how_to_get=HOW_TO_GET
    )


def register_ade20k_panoptic(name: str, root: Path, split: str) -> None:
    """Register a split with its instances; files are read when the data set is first used."""
    json_file = root / f"ade20k_panoptic_{split}.json"
    register_dataset(
        name,
        lambda: load_ade20k_panoptic(root, split),
        build_ade20k_panoptic_table(),
        panoptic_json=str(json_file),
        panoptic_root=str(json_file.with_suffix("")),
    )


def load_ade20k_panoptic(root: Path, split: str) -> list[dict[str, Any]]:
    """Return the records of a split, each with its segments and its semantic label.

    The two differ: a pixel of a thing without an instance has a class in the semantic label but no segment.

    Args:
        root: as for `load_ade20k`, with ade20k_panoptic_{train,val}.json and the folders of their PNGs.
        split: "train" or "val".

    Raises:
        DataError: a missing folder, image or label, or a JSON that contradicts them.
    """
    json_file = root / f"ade20k_panoptic_{split}.json"
    if not json_file.is_file():
        raise MissingFileError(f"{json_file}: there is no such file; {HOW_TO_GET}")
    return load_coco_panoptic(
        json_file,
        root / "images" / FOLDERS[split],
        json_file.with_suffix(""),
        build_ade20k_panoptic_table(),
        semantic_root=root / "annotations_detectron2" / FOLDERS[split],
    )
