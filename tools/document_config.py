#!/usr/bin/env python3
"""Write the tables of docs/config.md from the comments of the config keys.

    python tools/document_config.py

The comments are those of unified_seg/config/keys.py and of unified_seg/heads/<method>/keys.py; a test compares.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/config.md"
CORE = ROOT / "unified_seg/config/keys.py"
HEADS = ROOT / "unified_seg/heads"
TABLE = "keys"
# What the variables of the files stand for.
NODES = {"cfg": "", "head": "MODEL.SEM_SEG_HEAD."}
# The table of a key, by the first part of its name, if it is not this part.
SECTIONS = {"VIS_PERIOD": "TEST", "MODEL_EMA": "SOLVER", "STAGES": "SOLVER"}


class Key(NamedTuple):
    """A config key as its file declares it.

    Attributes:
        name: such as SOLVER.FUSED.
        default: as in Python; "" for a group of keys.
        comment: when to change it.
    """

    name: str
    default: str
    comment: str


def read_keys(path: Path) -> Iterator[Key]:
    """Yield the keys of a file, in its order, each with the comment above it; groups only if they have one."""
    text = path.read_text(encoding="utf-8")
    statements = {each.lineno: each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Assign)}
    nodes, constants = dict(NODES), dict[str, str]()
    for comment, line in find_comments(text):
        found = _read_key(statements[line], nodes, constants) if line in statements else None
        if found is not None and (comment or found[1]):
            yield Key(*found, comment)


def find_comments(text: str) -> Iterator[tuple[str, int]]:
    """Yield each line that is no comment, by its number, with the comment directly above it; "" for none."""
    comment: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.lstrip("# "))
            continue
        yield " ".join(comment), number
        comment = []


def _read_key(statement: ast.Assign, nodes: dict[str, str], constants: dict[str, str]) -> tuple[str, str] | None:
    """Return name and default of the key that a statement sets; take note of variables and constants."""
    (target,) = statement.targets
    value = ast.unparse(statement.value).replace("'", '"')
    if isinstance(target, ast.Name):
        if isinstance(statement.value, ast.Attribute):  # node = head.PSP
            nodes[target.id] = f"{_expand(ast.unparse(statement.value), nodes)}."
        else:
            constants[target.id] = value
        return None
    name = _expand(ast.unparse(target), nodes)
    is_group = isinstance(statement.value, ast.Call)
    return name, "" if is_group else constants.get(value, value)


def _expand(path: str, nodes: dict[str, str]) -> str:
    variable, _, rest = path.partition(".")
    return nodes[variable] + rest


def write_tables() -> str:
    """Return the tables of all files."""
    sections: dict[str, list[Key]] = {}
    for key in read_keys(CORE):
        top = key.name.partition(".")[0]
        sections.setdefault(SECTIONS.get(top, top), []).append(key)
    for path in sorted(HEADS.glob("*/keys.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        title = doc.splitlines()[0].removeprefix("Config keys of ").rstrip(".")
        sections[f"{title[0].upper()}{title[1:]}"] = list(read_keys(path))
    return "\n\n".join(f"### {title}\n\n{format_table(keys)}" for title, keys in sections.items())


def format_table(keys: list[Key]) -> str:
    rows = ["| key | default | |", "| --- | --- | --- |"]
    rows += [f"| `{key.name}` | {f'`{key.default}`' * bool(key.default)} | {_escape(key.comment)} |" for key in keys]
    return "\n".join(rows)


def _escape(text: str) -> str:
    """Return a text in which Markdown has no effect but for code in backquotes."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([|*<>_\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from unified_seg.reporting.readme import replace_table  # imports PyTorch

    replace_table(PAGE, TABLE, write_tables())
    print(f"the keys are in {PAGE}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
