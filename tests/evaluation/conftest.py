import sys
from pathlib import Path

import pytest

# pytest's importlib mode leaves the folders of tests off the path; `drawn_streets` is shared by the tests here.
sys.path.append(str(Path(__file__).parent))

from drawn_streets import Streets


@pytest.fixture
def streets(tmp_path: Path) -> Streets:
    folder = tmp_path / "streets"
    folder.mkdir()
    return Streets(folder)
