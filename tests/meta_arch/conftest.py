from collections.abc import Iterator

import pytest
from detectron2.utils.events import EventStorage


@pytest.fixture(autouse=True)
def event_storage() -> Iterator[EventStorage]:
    """Detectron2's detector writes its statistics in training, which a trainer otherwise provides for."""
    with EventStorage() as storage:
        yield storage
