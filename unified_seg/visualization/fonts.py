"""Fonts for texts in any script: matplotlib's default font lacks Chinese, Japanese, Korean and most emoji."""

import logging
import unicodedata
import warnings
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from unified_seg.hints import format_hint

logger = logging.getLogger(__name__)

DEFAULT = "sans-serif"
# Fonts that draw a box for every character, or pictures that matplotlib can't draw.
UNUSABLE = ("last resort", "lastresort", "color emoji", "coloremoji")
# Debian's package with the characters whose Unicode names start so.
PACKAGES = {
    ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "FULLWIDTH"): "fonts-noto-cjk",
    ("ARABIC", "HEBREW", "DEVANAGARI", "THAI", "BENGALI", "TAMIL", "ARMENIAN", "GEORGIAN"): "fonts-noto-core",
}
OTHER_PACKAGE = "fonts-symbola"  # emoji and symbols, in black and white


def choose_families(text: str) -> list[str]:
    """Return the font families for a text: matplotlib's default and, only if needed, others for what it lacks.

    Characters that no installed font has are named once in the log, with the package that has them.
    """
    families, absent = _choose_families(frozenset(text))
    if absent:
        _report_absent(absent)
    return list(families)


@cache
def _choose_families(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the families, and the characters that none of them has."""
    default = font_manager.findfont(font_manager.FontProperties(family=[DEFAULT]))
    absent = {character for character in characters if _has_glyph(character)} - _find_characters(default, characters)
    families = [DEFAULT]
    if absent:
        for name, file in _list_fonts():
            if found := _find_characters(file, absent):
                families.append(name)
                absent -= found
            if not absent:
                break
    return tuple(families), frozenset(absent)


@cache
def _list_fonts() -> list[tuple[str, str]]:
    """Return name and file of each installed font; upright regular fonts without serifs come first."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for file in font_manager.findSystemFonts():
        if file not in known:  # installed after matplotlib wrote its list
            try:
                font_manager.fontManager.addfont(file)
            except (OSError, RuntimeError, ValueError):
                continue
    usable = [e for e in font_manager.fontManager.ttflist if not any(word in e.name.lower() for word in UNUSABLE)]
    usable.sort(key=lambda e: (e.style != "normal", e.weight not in (400, "normal"), "sans" not in e.name.lower()))
    return [(entry.name, entry.fname) for entry in usable]


def _has_glyph(character: str) -> bool:
    """Return whether a character is drawn: no space, control character or variation selector (of emoji)."""
    if 0xFE00 <= ord(character) <= 0xFE0F:
        return False
    # Cn: not known to this Python, such as new emoji.
    return unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp")


def _find_characters(file: str, wanted: Iterable[str]) -> set[str]:
    """Return which of the characters a font has; empty if it can't be read."""
    try:
        characters = FT2Font(file).get_charmap()
    except (OSError, RuntimeError, ValueError):
        return set()
    return {character for character in wanted if ord(character) in characters}


@cache
def _report_absent(characters: frozenset[str]) -> None:
    warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from")  # matplotlib's, for each character and text
    packages = sorted({_find_package(character) for character in characters})
    logger.warning(
        f"no installed font has {''.join(sorted(characters))!r} of a class name, which is drawn as boxes; install "
        f"{format_hint('apt-get', 'install', *packages)}, or another font with these characters"
    )


def _find_package(character: str) -> str:
    name = unicodedata.name(character, "")
    return next((package for starts, package in PACKAGES.items() if name.startswith(starts)), OTHER_PACKAGE)
