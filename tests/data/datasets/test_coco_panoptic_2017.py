from collections import Counter
from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog

from unified_seg.data.datasets.coco_panoptic_2017 import load_coco_panoptic_2017
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.problems import DataError


def test_classes_equal_detectron2() -> None:
    table = dataset_classes(MetadataCatalog.get("unified_coco_panoptic_val"))
    expected = MetadataCatalog.get("coco_2017_val_panoptic")
    assert table.semantic_names == expected.stuff_classes and table.semantic_colors == [
        *map(tuple, expected.stuff_colors)
    ]
    assert [thing.name for thing in table.things] == expected.thing_classes[:80]  # Detectron2 lists stuff there too
    ids = {c.dataset_id: c.category_id for c in table.classes}
    assert ids == expected.thing_dataset_id_to_contiguous_id | expected.stuff_dataset_id_to_contiguous_id
    # Kirillov et al., Panoptic Segmentation, CVPR 2019, and the COCO 2018 challenge: 80 things, 53 stuff classes.
    assert (table.num_things, table.num_semantic) == (80, 133)
    assert [thing.semantic_id for thing in table.things] == list(range(80))


def test_supercategories_of_things_are_runs_of_coco_ids() -> None:
    table = dataset_classes(MetadataCatalog.get("unified_coco_panoptic_val"))
    # COCO numbered the 91 candidates group by group (Lin et al., ECCV 2014, appendix).
    runs = {
        "person": (1, 1), "vehicle": (2, 9), "outdoor": (10, 15), "animal": (16, 25), "accessory": (26, 33),
        "sports": (34, 43), "kitchen": (44, 51), "food": (52, 61), "furniture": (62, 71), "electronic": (72, 77),
        "appliance": (78, 83), "indoor": (84, 91),
    }  # fmt: skip
    for thing in table.things:
        first, last = runs[thing.category]
        assert first <= thing.dataset_id <= last, thing


def test_supercategories_of_stuff_are_official() -> None:
    table = dataset_classes(MetadataCatalog.get("unified_coco_panoptic_val"))
    # panoptic_coco_categories.json of panopticapi, which COCO's own code reads.
    counts = Counter(c.category for c in table.classes if not c.is_thing)
    assert counts == {
        "textile": 6, "building": 5, "raw-material": 2, "furniture-stuff": 8, "floor": 2, "plant": 3, "food-stuff": 2,
        "ground": 9, "structural": 2, "water": 3, "wall": 5, "window": 2, "ceiling": 1, "sky": 1, "solid": 2,
    }  # fmt: skip
    assert len(table.categories) == 27


def test_metadata_has_the_files() -> None:
    metadata = MetadataCatalog.get("unified_coco_panoptic_train")
    assert metadata.panoptic_json.endswith("coco/annotations/panoptic_train2017.json")
    assert metadata.panoptic_root.endswith("coco/panoptic_train2017")
    assert metadata.evaluator_type == "unified_seg"


def test_a_missing_json_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"panoptic_val2017\.json: there is no such file; .*prepare_coco_panoptic\.py"):
        load_coco_panoptic_2017(tmp_path, "val")
