"""Tables in a README, each between two markers with its name, so that tools write all numbers."""

from pathlib import Path

from unified_seg.data.problems import DataError, MissingFileError


def markers(table: str) -> tuple[str, str]:
    """Return the marker before and the marker after a table in a README."""
    return f"<!-- {table}:begin -->", f"<!-- {table}:end -->"


def check_markers(readme: Path, table: str) -> str:
    """Return the content of a README after checking that it has the two markers of a table.

    Raises:
        DataError: there is no such file, or not each marker once, in order.
    """
    begin, end = markers(table)
    try:
        content = readme.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFileError(f"{readme}: no such file; expected a README with {begin} and {end}") from None
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise DataError(f"{readme}: needs {begin} and, after it, {end}, each once; the table goes between them")
    return content


def put_into(readme: Path, text: str, table: str) -> None:
    """Replace the text between the two markers of a table; see `check_markers` for errors."""
    begin, end = markers(table)
    before, _, rest = check_markers(readme, table).partition(begin)
    after = rest.partition(end)[2]
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
