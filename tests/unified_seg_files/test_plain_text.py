from unified_seg_files import escape_cell, escape_unprintable


def test_control_characters_and_invalid_text_are_escaped() -> None:
    assert escape_unprintable("a\n\x1b[31m\udc80 ü\x9b") == r"a\n\x1b[31m\udc80 ü\x9b"
    assert escape_unprintable("a\n\x1b", keep="\n") == "a\n\\x1b"
    assert escape_unprintable(3) == "3"
    assert escape_unprintable("\u202egnp.exe") == r"\u202egnp.exe"  # right to left


def test_cells_are_no_formulas() -> None:
    assert [escape_cell(text) for text in ("=1+1", "+1", "-1", "@x", "\tx", "a=b", 3)] == [
        "'=1+1", "'+1", "'-1", "'@x", r"\tx", "a=b", "3",
    ]  # fmt: skip
