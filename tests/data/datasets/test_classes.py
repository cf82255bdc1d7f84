from collections.abc import Iterator

import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg.config import ConfigError
from unified_seg.data.datasets.classes import dataset_classes, resolve_dataset_classes

OTHER = "unified_test_other_classes"


@pytest.fixture
def other() -> Iterator[str]:
    """A data set of two classes, one of them a thing, with ignore label 200."""
    DatasetCatalog.register(OTHER, lambda: [])
    MetadataCatalog.get(OTHER).set(stuff_classes=["grass", "cow"], thing_classes=["cow"], ignore_label=200)
    yield OTHER
    DatasetCatalog.remove(OTHER)
    MetadataCatalog.remove(OTHER)


def test_counts_and_ignore_label_come_from_the_training_set(tiny_config: CfgNode, other: str) -> None:
    filled = resolve_dataset_classes(tiny_config)
    assert (filled.MODEL.SEM_SEG_HEAD.NUM_CLASSES, filled.MODEL.ROI_HEADS.NUM_CLASSES) == (19, 8)
    tiny_config.DATASETS.TRAIN = tiny_config.DATASETS.TEST = (other,)
    filled = resolve_dataset_classes(tiny_config)
    assert (filled.MODEL.SEM_SEG_HEAD.NUM_CLASSES, filled.MODEL.ROI_HEADS.NUM_CLASSES) == (2, 1)
    assert filled.MODEL.SEM_SEG_HEAD.IGNORE_VALUE == 200
    # The caller's config is left alone.
    assert tiny_config.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 54
    assert not tiny_config.is_frozen() and filled.is_frozen()


def test_a_frozen_config_is_fine(tiny_config: CfgNode) -> None:
    tiny_config.freeze()
    assert resolve_dataset_classes(tiny_config).MODEL.ROI_HEADS.NUM_CLASSES == 8


def test_data_sets_with_different_classes_are_an_error(tiny_config: CfgNode, other: str) -> None:
    tiny_config.DATASETS.TEST = (other,)
    with pytest.raises(ConfigError, match=f"'unified_test_streets_train' and '{other}' do not have the same classes"):
        resolve_dataset_classes(tiny_config)


@pytest.mark.parametrize("split", ["TRAIN", "TEST"])
def test_an_unknown_data_set_has_a_hint(split: str, tiny_config: CfgNode) -> None:
    tiny_config.DATASETS[split] = ("unified_toyscape_train",)
    message = "no data set .unified_toyscape_train., in DATASETS.CUSTOM neither; did you mean unified_toyscapes"
    with pytest.raises(ConfigError, match=message):
        resolve_dataset_classes(tiny_config)


def test_no_training_set_is_an_error(tiny_config: CfgNode) -> None:
    tiny_config.DATASETS.TRAIN = ()
    with pytest.raises(ConfigError, match=r"DATASETS\.TRAIN is empty"):
        resolve_dataset_classes(tiny_config)


def test_wrong_metadata_names_the_data_set(other: str) -> None:
    MetadataCatalog.remove(other)
    MetadataCatalog.get(other).set(stuff_classes=["grass"], thing_classes=["cow"])
    with pytest.raises(ConfigError, match=f"data set '{other}': the thing class 'cow' is not among stuff_classes"):
        dataset_classes(MetadataCatalog.get(other))
