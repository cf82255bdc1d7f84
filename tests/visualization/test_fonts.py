"""Class names in scripts that matplotlib's default font lacks, with a font that is made here."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from unified_seg.visualization import fonts
from unified_seg.visualization.sheet import draw_text_strip
from unified_seg.visualization.text_labels import SegmentVisualizer

#: Car in Chinese, Japanese and Korean, and an emoji.
TEXTS = ["汽车", "クルマ", "자동차", "\U0001fabf"]


def forget() -> None:
    for cached in (fonts._choose_families, fonts._list_fonts, fonts._report_absent):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def without_system_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the fonts of matplotlib itself."""
    own = [entry for entry in font_manager.fontManager.ttflist if "mpl-data" in entry.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    forget()
    yield
    forget()


@pytest.fixture
def font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A font with the characters of the texts, installed after matplotlib made its list."""
    pen = TTGlyphPen(None)
    for corner, move in zip([(0, 0), (300, 900), (600, 0)], [pen.moveTo, pen.lineTo, pen.lineTo]):
        move(corner)
    pen.closePath()
    names = {ord(character): f"u{ord(character):x}" for text in TEXTS for character in text}
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    builder.setupGlyf(dict.fromkeys([".notdef", *names.values()], pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (700, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Unified Test Sans", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    file = tmp_path / "test.ttf"
    builder.save(file)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(file)])
    return "Unified Test Sans"


@pytest.mark.parametrize("text", TEXTS)
def test_installed_font_with_the_characters_is_used(text: str, font: str, caplog: pytest.LogCaptureFixture) -> None:
    assert fonts.choose_families(f"{text} 98%") == ["sans-serif", font]
    assert not caplog.records
    drawn = draw_text_strip(text, 100)
    forget()
    font_manager.findSystemFonts = list
    font_manager.fontManager.ttflist = [e for e in font_manager.fontManager.ttflist if e.name != font]
    assert not np.array_equal(drawn, draw_text_strip(text, 100))


@pytest.mark.parametrize("text", ["car 98%", "Straße", "шлях", "δρόμος", "سيارة"])
def test_texts_that_the_default_font_has_are_drawn_as_before(text: str) -> None:
    assert fonts.choose_families(text) == ["sans-serif"]


@pytest.mark.parametrize(
    ("text", "package"), [*((t, "fonts-noto-cjk") for t in TEXTS[:3]), (TEXTS[3], "fonts-symbola")]
)
def test_absent_characters_are_named_once_with_a_package(
    text: str, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    visualizer = SegmentVisualizer(np.zeros((100, 200, 3), np.uint8))
    with caplog.at_level(logging.WARNING, logger=fonts.logger.name):
        for _ in range(3):
            visualizer.draw_text(text, (50, 50), color=(1.0, 1.0, 1.0))
    (record,) = caplog.records
    assert re.search(f"`apt-get install {package}`", record.getMessage())
