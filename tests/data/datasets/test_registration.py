from collections.abc import Iterator

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg.config import ConfigError
from unified_seg.data.datasets.registration import dataset_classes

NAME = "unified_test_other_classes"


@pytest.fixture
def other() -> Iterator[str]:
    DatasetCatalog.register(NAME, lambda: [])
    MetadataCatalog.get(NAME).set(stuff_classes=["grass"], thing_classes=["cow"])
    yield NAME
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def test_wrong_metadata_names_the_data_set(other: str) -> None:
    with pytest.raises(ConfigError, match=f"{other}.*'cow'"):
        dataset_classes(MetadataCatalog.get(other))
