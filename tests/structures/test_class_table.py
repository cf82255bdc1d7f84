from types import SimpleNamespace

import numpy as np
import pytest
from detectron2.data import MetadataCatalog

from unified_seg.structures.class_table import ClassTable, SegmentClass

BUILTIN = [
    # name, K, T, first things' semantic ids, is semantic id 0 a thing
    ("cityscapes_fine_panoptic_val", 19, 8, [11, 12, 13], False),
    ("cityscapes_fine_sem_seg_val", 19, 8, [11, 12, 13], False),
    ("coco_2017_val_panoptic", 133, 80, [0, 1, 2], True),
    ("coco_2017_val_panoptic_separated", 54, 80, [0, 0, 0], True),
    ("coco_2017_val", 80, 80, [0, 1, 2], True),
    ("ade20k_sem_seg_val", 150, 0, [], False),
    ("unified_cityscapes_val", 19, 8, [11, 12, 13], False),
]


def table_of(name: str) -> ClassTable:
    return ClassTable.from_metadata(MetadataCatalog.get(name))


class Metadata:
    def __init__(self, **values: object):
        self.__dict__.update(values)


@pytest.mark.parametrize(("name", "semantic", "things", "first", "zero_is_thing"), BUILTIN)
def test_metadata_of_detectron2_is_read(
    name: str, semantic: int, things: int, first: list[int], zero_is_thing: bool
) -> None:
    table = table_of(name)
    assert (table.num_semantic, table.num_things) == (semantic, things)
    assert table.thing_to_semantic[:3].tolist() == first
    assert bool(table.is_thing[0]) is zero_is_thing
    assert len(table.semantic_names) == len(table.semantic_colors) == semantic
    assert table.ignore_label == 255


@pytest.mark.parametrize("name", [row[0] for row in BUILTIN])
def test_every_id_finds_its_class(name: str) -> None:
    table = table_of(name)
    assert table.classes
    for c in table.classes:
        assert table.by_dataset_id[c.dataset_id] is c
        assert table.find_class(c.category_id, c.is_thing) is c
        assert table.is_thing[c.semantic_id] == c.is_thing
        if c.thing_id is not None:
            assert table.things[c.thing_id] is c
            assert table.thing_to_semantic[c.thing_id] == c.semantic_id
        assert table.categories[table.category_of[c.semantic_id]] == c.category or name.endswith("separated")


def test_three_registrations_of_cityscapes_give_one_table() -> None:
    expected, panoptic, semantic = (
        table_of(n) for n in ("unified_cityscapes_val", "cityscapes_fine_panoptic_val", "cityscapes_fine_sem_seg_val")
    )
    for table in (panoptic, semantic):
        assert [(c.name, c.semantic_id, c.thing_id) for c in table.classes] == [
            (c.name, c.semantic_id, c.thing_id) for c in expected.classes
        ]
    # Without a published mapping the files hold the semantic ids themselves.
    assert [c.dataset_id for c in semantic.classes] == list(range(19))


def test_cityscapes_ids_by_hand() -> None:
    table = table_of("unified_cityscapes_val")
    car = table.by_dataset_id[26]
    # Cityscapes numbers car 26 in its files and 13 in training; of its things it is the third.
    assert (car.name, car.semantic_id, car.thing_id, car.category) == ("car", 13, 2, "vehicle")
    road = table.by_dataset_id[7]
    assert (road.name, road.semantic_id, road.thing_id, road.category) == ("road", 0, None, "flat")
    assert car.category_id == 2 and road.category_id == 0
    person, rider, truck = (next(c for c in table.classes if c.name == n) for n in ("person", "rider", "truck"))
    assert person.category == rider.category == "human"
    assert table.category_of[truck.semantic_id] == table.category_of[car.semantic_id]
    assert table.category_of[person.semantic_id] != table.category_of[car.semantic_id]
    assert len(table.categories) == 7


def test_categories_agree_with_cityscapes_scripts() -> None:
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    table = table_of("unified_cityscapes_val")
    for label in labels:
        if 0 <= label.trainId < 255:
            c = table.by_dataset_id[label.id]
            assert (c.name, c.semantic_id, c.category, c.color) == (
                label.name, label.trainId, label.category, label.color,
            )  # fmt: skip
            assert c.is_thing == label.hasInstances


def test_coco_keeps_its_own_category_ids() -> None:
    table = table_of("coco_2017_val_panoptic")
    # COCO's category ids have gaps: the 80th thing, toothbrush, is 90, and stuff begins with banner, 92.
    toothbrush, banner = table.by_dataset_id[90], table.by_dataset_id[92]
    assert (toothbrush.name, toothbrush.semantic_id, toothbrush.thing_id) == ("toothbrush", 79, 79)
    assert (banner.name, banner.semantic_id, banner.thing_id) == ("banner", 80, None)


def test_coco_separated_shares_one_semantic_id_among_things() -> None:
    table = table_of("coco_2017_val_panoptic_separated")
    assert table.semantic_names[0] == "things"
    assert table.things[79].semantic_id == 0
    assert np.flatnonzero(table.is_thing).tolist() == [0]
    assert table.by_dataset_id[92].semantic_id == 1  # banner, the first stuff


def test_data_set_without_colors_gets_distinct_ones() -> None:
    table = table_of("ade20k_sem_seg_val")
    assert len(set(table.semantic_colors)) == 150


def entry(name: str, semantic: int, thing: int | None, dataset: int) -> SegmentClass:
    return SegmentClass(name, semantic, thing, dataset, name, (0, 0, 0))


@pytest.mark.parametrize(
    ("classes", "ignore", "message"),
    [
        ([], 255, "at least one class"),
        ([entry("a", 0, None, 1), entry("b", 2, None, 2)], 255, "without gaps"),
        ([entry("a", 0, 0, 1), entry("b", 1, 2, 2)], 255, "thing ids"),
        ([entry("a", 0, None, 1), entry("b", 1, None, 1)], 255, "must be unique"),
        ([entry("a", 0, 0, 1), entry("b", 0, None, 2)], 255, "only things"),
        ([entry("a", 0, None, 1), entry("b", 1, None, 2)], 1, "ignore label 1"),
    ],
)
def test_contradicting_ids_are_errors(classes: list[SegmentClass], ignore: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassTable(classes, ignore)


@pytest.mark.parametrize(("number", "ignore"), [(1, 255), (255, 255), (256, 32767), (365, 32767), (32767, 32767)])
def test_ignore_label_follows_the_number_of_classes(number: int, ignore: int) -> None:
    assert ClassTable(entry(f"c{i}", i, i, i) for i in range(number)).ignore_label == ignore
    names = [f"c{i}" for i in range(number)]
    assert ClassTable.from_metadata(SimpleNamespace(thing_classes=names)).ignore_label == ignore


def test_too_many_classes_are_refused_with_the_limit() -> None:
    with pytest.raises(ValueError, match="at most 32767 classes"):
        ClassTable(entry(f"c{i}", i, i, i) for i in range(32768))


def test_ignore_label_may_be_negative() -> None:
    assert ClassTable([entry("a", 0, None, 1)], -1).ignore_label == -1


def test_metadata_without_classes_is_an_error() -> None:
    with pytest.raises(ValueError, match="'empty' has no thing_classes"):
        ClassTable.from_metadata(Metadata(name="empty"))


def test_thing_without_semantic_class_is_an_error() -> None:
    with pytest.raises(ValueError, match="'car' is not among stuff_classes"):
        ClassTable.from_metadata(Metadata(name="x", thing_classes=["car"], stuff_classes=["road"]))


def test_mapping_to_an_unknown_class_is_an_error() -> None:
    metadata = Metadata(name="x", stuff_classes=["road"], stuff_dataset_id_to_contiguous_id={7: 0, 8: 1})
    with pytest.raises(ValueError, match=r"stuff_dataset_id_to_contiguous_id: ids \[1\]"):
        ClassTable.from_metadata(metadata)


def test_unknown_segment_class_is_an_error() -> None:
    table = table_of("unified_cityscapes_val")
    with pytest.raises(ValueError, match="no thing class has category_id 8"):
        table.find_class(8, True)
    with pytest.raises(ValueError, match="no stuff class has category_id 13"):  # car
        table.find_class(13, False)
