"""YAML files of data: plain values alone."""

from pathlib import Path
from typing import Any

import yaml

from unified_seg.data.io.reading import DataError, MissingFileError


class _PlainLoader(yaml.SafeLoader):
    """Without aliases: a few lines of them can mean more than memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """The content of a file that others wrote.

    Raises:
        DataError: absent, unreadable, or not plain YAML; it names the file.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_PlainLoader)
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path}: not readable as plain YAML: {error}") from None
