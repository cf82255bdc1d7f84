"""mkdocs.yml. `make docs` checks the rest: it builds the site, and every warning is an error."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_every_page_is_in_the_navigation_once() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    files = {
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("projects/**/README.md"),
        ROOT / "datasets/README.md",
    }
    assert sorted(find_pages(config["nav"])) == sorted(file.relative_to(ROOT).as_posix() for file in files)


def find_pages(nav: Any) -> Iterator[str]:
    """Yield the pages of a part of the navigation: a page, a list of parts, or parts by their titles."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from find_pages(part)


def test_every_picture_is_in_the_gallery() -> None:
    gallery = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    pictures = [file for folder in ("docs", "projects/*") for file in ROOT.glob(f"{folder}/images/*.[jp][pn]g")]
    links = [os.path.relpath(file, ROOT / "docs") for file in pictures]
    assert links and not [link for link in links if f"]({link})" not in gallery]
