"""What of a data set makes scores undefined, or means less than it seems to."""

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.data import MetadataCatalog

from unified_seg.data.coco.record_instances import list_instances
from unified_seg.words import join_some


def describe_undefined_instances(records: Sequence[Mapping[str, Any]]) -> str:
    """Return why average precision on a test set is undefined; "" if it is not, or there is no ground truth."""
    instances = [list_instances(record) for record in records]
    given = [of_record for of_record in instances if of_record is not None]
    if not given or any(not instance.get("iscrowd", 0) for of_record in given for instance in of_record):
        return ""
    crowds = " but crowds" if any(given) else ""
    return f"no instance{crowds} in its ground truth: average precision is undefined"


def describe_default_void(name: str, void_share: float | None, absent: Sequence[str]) -> str:
    """Return a warning if pixels of a custom data set are void by default, and may be those of a class that is absent.

    Args:
        name: of the data set.
        void_share: the fraction of the pixels that are void.
        absent: the names of classes without a pixel.

    Returns:
        The warning; "" if IGNORE is written, or nothing is void, or no class is absent.
    """
    custom = getattr(MetadataCatalog.get(name), "custom", None)
    if custom is None or custom.semantic is None or custom.ignore is not None or not void_share or not absent:
        return ""
    return (
        f"{100 * void_share:.2f} % of the pixels are void, by the default IGNORE [255], and no pixel is of "
        f"{join_some(absent)}; if 255 is a class, give it this id in CLASSES; else write IGNORE [255]"
    )
