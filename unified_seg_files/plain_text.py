"""Names and values that others chose, in what people read."""

# How the cells start that spreadsheets compute.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def escape_unprintable(text: object, keep: str = "") -> str:
    """Return a text with escapes for control characters, which command a terminal, and for what UTF-8 can't encode.

    Args:
        text: of anybody; what is no text is converted.
        keep: characters to keep, such as line ends.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def escape_cell(value: object) -> str:
    """Return a value as a cell of a CSV: text that a spreadsheet would take for a formula starts with an apostrophe."""
    text = escape_unprintable(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
