"""Generated tables in a README: each stands between two markers with its name, so no number is typed by hand."""

from pathlib import Path

from unified_seg.reporting.errors import ReportingError
from unified_seg_files import write_text


def get_markers(table: str) -> tuple[str, str]:
    """Return the lines that begin and end the place of a table in a README."""
    return f"<!-- {table}:begin -->", f"<!-- {table}:end -->"


def has_markers(readme: Path, table: str) -> bool:
    """Return whether a README has a place for a table."""
    return get_markers(table)[0] in readme.read_text(encoding="utf-8")


def read_with_markers(readme: Path, table: str) -> str:
    """Return the content of a README that has a place for a table.

    Raises:
        ReportingError: there is no such file, or not each marker once, in order.
    """
    begin, end = get_markers(table)
    try:
        content = readme.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ReportingError(f"{readme}: no such file; write one with the lines {begin} and {end}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReportingError(f"{readme}: can't be read: {error}") from None
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise ReportingError(
            f"{readme}: expected {begin} and, after it, {end}, each once; add them where the table belongs"
        )
    return content


def replace_table(readme: Path, table: str, text: str) -> None:
    """Replace what is between the two markers of a table; raise what `read_with_markers` raises."""
    begin, end = get_markers(table)
    before, _, rest = read_with_markers(readme, table).partition(begin)
    after = rest.partition(end)[2]
    write_text(readme, f"{before}{begin}\n{text}\n{end}{after}")
