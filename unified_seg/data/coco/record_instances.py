"""The instances of a record, whichever file they come from."""

from collections.abc import Mapping
from typing import Any


def list_instances(record: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return the annotations of a record, or else the things of its segments_info, crowds included; None without both.

    Each has `category_id`, a thing id, and `iscrowd` unless it is 0.
    """
    if "annotations" in record:
        return record["annotations"]
    segments = record.get("segments_info")
    return None if segments is None else [segment for segment in segments if segment["isthing"]]
