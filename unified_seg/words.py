"""Wording of messages that several parts share."""

from collections.abc import Iterable

#: For `extra` of a logger's call: the console shows the record too, not only log.txt.
ON_CONSOLE = {"on_console": True}


def join_some(items: Iterable[object], most: int = 10, separator: str = ", ") -> str:
    """Return items as text for a message: the first ones, and how many more there are.

    Args:
        items: of any number.
        most: the largest number of items to name.
        separator: between items.
    """
    words = list(map(str, items))
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return separator.join(words[:most]) + more
