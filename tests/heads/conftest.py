"""The heads outside the tree are registered too, so that the contract battery finds them."""

from pathlib import Path

import pytest
from drawn_streets import Streets
from example_heads import import_example_heads
from street_fixtures import compact, fused, image, metadata, street, table  # noqa: F401  (fixtures)

import_example_heads()


@pytest.fixture
def streets(tmp_path: Path) -> Streets:
    folder = tmp_path / "streets"
    folder.mkdir()
    return Streets(folder)
