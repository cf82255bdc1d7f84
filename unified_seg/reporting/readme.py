"""Tables in a README, each between two markers that name it: no number there is typed by hand."""

from pathlib import Path


def markers(table: str) -> tuple[str, str]:
    """What stands before and after the place of a table in a README."""
    return f"<!-- {table}:begin -->", f"<!-- {table}:end -->"


def check_markers(readme: Path, table: str) -> str:
    """The content of a README that has a place for a table.

    Raises:
        ValueError: there is no such file, or not each marker once, in order.
    """
    begin, end = markers(table)
    try:
        content = readme.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{readme}: no such file; the table goes between {begin} and {end} in it") from None
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise ValueError(f"{readme}: needs {begin} and, after it, {end}, each once; the table goes between them")
    return content


def put_into(readme: Path, text: str, table: str) -> None:
    """Replace what is between the two markers of a README; raises what `check_markers` raises."""
    begin, end = markers(table)
    before, _, rest = check_markers(readme, table).partition(begin)
    after = rest.partition(end)[2]
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
