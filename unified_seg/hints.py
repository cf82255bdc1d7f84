"""Hints in messages: what a user can type to fix an error.

A hint is in backquotes and can be pasted as it stands: config overrides, options, or a whole command. A test triggers
each message that has one, and runs it.
"""

import ast
import shlex
from pathlib import PurePath
from typing import Any


def format_hint(*words: Any) -> str:
    """Return words as they are typed in a shell, in backquotes.

    Args:
        words: KEY, VALUE, ... of config overrides, options and their values, or the words of a command. Strings
            and paths are typed as they are, unless the reader of overrides would take them for another type; other
            values as Python writes them.
    """
    return f"`{' '.join(map(_quote, words))}`"


def _quote(word: Any) -> str:
    word = str(word) if isinstance(word, PurePath) else word
    text = repr(word) if not isinstance(word, str) or _is_literal(word) else word
    if "'" in text and not set(text) & set('"$\\!`'):
        return f'"{text}"'  # easier to read than shlex's quotes within quotes
    return shlex.quote(text)


def _is_literal(text: str) -> bool:
    """Return whether the reader of overrides takes this text for a number, a list, True, ..."""
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
