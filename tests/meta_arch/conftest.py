import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.utils.events import EventStorage

# pytest's importlib mode leaves the folders of tests off the path; `point_model` is shared by the tests here.
sys.path.append(str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def event_storage() -> Iterator[EventStorage]:
    """Detectron2's detector writes its statistics in training, which a trainer otherwise provides for."""
    with EventStorage() as storage:
        yield storage
