"""The folder of an exported model: its description, and checksums of all its files."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unified_seg_arrays.class_table import ClassTable, SegmentClass
from unified_seg_files import hash_file, read_bytes

DESCRIPTION, CHECKSUMS = "description.json", "checksums.json"
MAX_BYTES = 64 << 20


class FolderError(ValueError):
    """A folder that is not that of an exported model, or that was changed."""


@dataclass(frozen=True)
class Description:
    """What a graph needs and predicts.

    Attributes:
        format: "onnx", "torch_export" or "torchscript".
        graph: the file of the graph.
        precision: of its numbers, such as "float32".
        channels: of the input, "BGR", "RGB", "L", or others, whose images are given as arrays.
        num_channels: C.
        percentiles: of each image, that become 0 and 255, see `stretch_contrast`; None: images stay as they are.
        min_size, max_size: an image is resized so that its shorter side has `min_size` pixels and its longer side at
            most `max_size`; a `min_size` of 0 keeps its size.
        size: height and width of the input, to fit into which an image is resized instead; None if they are open.
        smallest: the shortest side of an input of open size; smaller images are padded.
        batch: images of the input.
        outputs: names of the results of the graph, in their order.
        stride: input pixels per pixel of the logits; 0 without logits.
        classes: the classes.
        ignore_label: of pixels without a class.
        fusion: the name of the panoptic fusion; "" for none.
        fusion_options: its thresholds.
    """

    format: str
    graph: str
    precision: str
    channels: str
    num_channels: int
    percentiles: tuple[float, float] | None
    min_size: int
    max_size: int
    size: tuple[int, int] | None
    smallest: int
    batch: int
    outputs: list[str]
    stride: int
    classes: list[dict[str, Any]]
    ignore_label: int
    fusion: str
    fusion_options: dict[str, Any]

    def make_table(self) -> ClassTable:
        """Return the classes as a table; raises FolderError."""
        try:
            classes = [SegmentClass(**{**each, "color": tuple(each["color"])}) for each in self.classes]
            return ClassTable(classes, self.ignore_label)
        except (TypeError, KeyError, ValueError) as error:
            raise FolderError(f"{DESCRIPTION}: classes: {error}") from None

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps(asdict(self), indent=1) + "\n"


CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "size": lambda value: value is None or _is_pair(value),
    "percentiles": lambda value: value is None or _is_increasing(value),
    "outputs": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "classes": lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
    "fusion_options": lambda value: isinstance(value, dict),
    **dict.fromkeys(("format", "graph", "precision", "channels", "fusion"), lambda value: isinstance(value, str)),
    **dict.fromkeys(
        ("num_channels", "min_size", "max_size", "smallest", "batch", "stride", "ignore_label"),
        lambda value: isinstance(value, int) and value >= 0,
    ),
}


def read_description(folder: str | Path) -> Description:
    """Read what a folder holds, after a comparison of all its files with their checksums.

    Raises:
        FolderError: it is not the folder of an exported model, or a file is missing or was changed.
    """
    folder = Path(folder)
    names = check_files(folder)
    values = _read_json(folder / DESCRIPTION)
    if not isinstance(values, dict) or values.keys() != CHECKS.keys():
        raise FolderError(f"{folder / DESCRIPTION}: it is of another version of unified_seg; export the model again")
    for name, is_valid in CHECKS.items():
        if not is_valid(values[name]):
            raise FolderError(f"{folder / DESCRIPTION}: {name}: unexpected value {values[name]!r:.80}")
    if values["graph"] not in names:
        raise FolderError(f"{folder / DESCRIPTION}: graph: {values['graph']!r} is not a file of the folder")
    pairs = {name: values[name] and tuple(values[name]) for name in ("size", "percentiles")}
    return Description(**{**values, **pairs})


def check_files(folder: Path) -> list[str]:
    """Compare the files of a folder with their checksums, and return their names; raises FolderError."""
    expected = _read_json(folder / CHECKSUMS)
    if not isinstance(expected, dict) or DESCRIPTION not in expected:
        raise FolderError(f"{folder / CHECKSUMS}: it holds no checksums; export the model again")
    for name, digest in expected.items():
        path = folder / name
        if path.resolve() != folder.resolve() / name:
            raise FolderError(f"{folder / CHECKSUMS}: {name!r} is not a file of the folder")
        try:
            found = hash_file(path)
        except OSError as error:
            raise FolderError(f"{path}: {error.strerror}; export the model again, or copy the whole folder") from None
        if found != digest:
            raise FolderError(f"{path}: it was changed or damaged (checksum); export the model again")
    return list(expected)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_bytes(path, MAX_BYTES))
    except OSError as error:
        raise FolderError(f"{path}: {error.strerror}; is this the folder of an exported model?") from None
    except (ValueError, RecursionError) as error:
        raise FolderError(f"{path}: not JSON: {error}") from None


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(side, int) and side > 0 for side in value)


def _is_increasing(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2 and all(isinstance(each, (int, float)) for each in value)
    return is_pair and 0 <= value[0] < value[1] <= 100
