from pathlib import Path

import pytest
from drawn_streets import Streets


@pytest.fixture
def streets(tmp_path: Path) -> Streets:
    folder = tmp_path / "streets"
    folder.mkdir()
    return Streets(folder)
