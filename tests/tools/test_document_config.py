"""docs/config.md has every key of this project, with its default, as the comments in the code say."""

import ast
from typing import Any

import pytest
from detectron2.config import get_cfg
from detectron2.projects.deeplab import add_deeplab_config
from document_config import CORE, HEADS, PAGE, TABLE, read_keys, write_tables
from example_heads import remove_outside_keys

from unified_seg.config import get_config, get_value
from unified_seg.config.compare import flatten
from unified_seg.reporting.readme import get_markers

FILES = [CORE, *sorted(HEADS.glob("*/keys.py"))]


def test_the_page_is_what_the_tool_writes() -> None:
    begin, end = get_markers(TABLE)
    table = PAGE.read_text(encoding="utf-8").partition(f"{begin}\n")[2].partition(f"\n{end}")[0]
    assert table == write_tables(), "run tools/document_config.py"


def test_every_key_of_this_project_is_in_the_tables_with_its_default() -> None:
    documented = {key.name: key.default for path in FILES for key in read_keys(path)}
    detectron2 = get_cfg()
    add_deeplab_config(detectron2)
    theirs, ours = dict(flatten(detectron2)), dict(flatten(remove_outside_keys(get_config())))
    assert {name for name, value in ours.items() if name not in theirs or theirs[name] != value} <= documented.keys()
    for name, default in documented.items():
        if default and name != "MODEL.DEVICE":
            assert get_value(get_config(), name) == evaluate(default), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_every_key_says_when_to_change_it(path: Any) -> None:
    assert not [key.name for key in read_keys(path) if not key.comment]


def evaluate(text: str) -> Any:
    """Return the value of a literal, or of a division."""
    if "/" in text and '"' not in text:
        above, below = text.split("/")
        return int(above) / int(below)
    return ast.literal_eval(text)
