import pytest
from detectron2.data import MetadataCatalog

from unified_seg.structures.class_table import ClassTable


@pytest.fixture
def table() -> ClassTable:
    return ClassTable.from_metadata(MetadataCatalog.get("unified_cityscapes_val"))
