"""What the documents name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("projects/*/README.md"), *ROOT.glob("datasets/*.md")}
)
IDS = [file.relative_to(ROOT).as_posix() for file in DOCUMENTS]


@pytest.mark.parametrize("file", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(file: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (file.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("file", DOCUMENTS, ids=IDS)
def test_commands_name_files_that_exist(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    named = re.findall(r"\b(?:tools|configs|projects|tests|unified_seg)/[\w./-]+\.(?:py|yaml)\b", text)
    # CONTRIBUTING tells the reader to write this one.
    missing = [name for name in named if not (ROOT / name).is_file() and "my_head" not in name]
    assert not missing
