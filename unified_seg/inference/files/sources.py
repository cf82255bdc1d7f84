"""The images that are predicted into files, one after another: a million images are never a list in memory."""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from unified_seg.data.problems import DataError
from unified_seg.errors import UserError
from unified_seg.inference.files.finished_log import hash_name
from unified_seg.inference.files.videos import read_frames
from unified_seg.inference.images import find_fixed_folder, iterate_images
from unified_seg_files import escape_unprintable


class Item(NamedTuple):
    """An image to predict.

    Attributes:
        file_name: its path in its folder, with slashes; results have it with suffixes of their own.
        image_id: in the JSONs.
        source: the record with the path of the image as `file_name`, and perhaps ground truth; or a frame (H, W, 3) BGR
            of a video.
        version: of the file, see `find_version`.
    """

    file_name: str
    image_id: Any
    source: dict[str, Any] | np.ndarray
    version: str

    @property
    def name(self) -> str:
        """The path without its suffix, by which results are named."""
        return remove_suffix(self.file_name)

    @property
    def key(self) -> str:
        """What tells it from other images and from earlier ones of its name."""
        return make_key(self.name, self.version)


class Source:
    """Images that can be read several times, in the same order."""

    def __iter__(self) -> Iterator[Item]:
        raise NotImplementedError

    def names(self) -> Iterator[str]:
        """Yield the name of each image, see `Item.name`."""
        return (item.name for item in self)

    def iterate_keys(self) -> Iterator[str]:
        """Yield the key of each image, see `Item.key`."""
        return (item.key for item in self)


class FileSource(Source):
    """The image files that inputs name: images, folders with their sub-folders, patterns, or lists of paths (.txt).

    Names are relative to the folder of each input, or to the common folder of the images of a list. The id of an image
    is its name without suffix, as in data sets that are folders.

    Args:
        inputs: see `iterate_images`.
        left_out: a folder whose files are no inputs, that of the results.
    """

    def __init__(self, inputs: Sequence[str], left_out: Path):
        self.inputs = inputs
        self.left_out = Path(os.path.realpath(left_out))

    def __iter__(self) -> Iterator[Item]:
        for text in self.inputs:
            root = self._find_root(text)
            inside = self.left_out.is_relative_to(os.path.realpath(root))
            for file in iterate_images(text):
                if inside and Path(os.path.realpath(file)).is_relative_to(self.left_out):
                    continue
                name = PurePath(os.path.relpath(file, root)).as_posix()
                yield Item(name, remove_suffix(name), {"file_name": str(file)}, find_version(file))

    def _find_root(self, text: str) -> Path:
        path = Path(text).expanduser()
        is_list = path.suffix == ".txt" and path.is_file()
        return find_common_folder(iterate_images(text)) if is_list else find_fixed_folder(path)


class RecordSource(Source):
    """The images of a data set; names are relative to their common folder.

    Args:
        records: of the data set, with `image_id`.
    """

    def __init__(self, records: Sequence[dict[str, Any]]):
        self.records = records
        self.root = find_common_folder(Path(record["file_name"]) for record in records)

    def __iter__(self) -> Iterator[Item]:
        for record in self.records:
            name = PurePath(os.path.relpath(record["file_name"], self.root)).as_posix()
            yield Item(name, record["image_id"], record, find_version(record["file_name"]))


class VideoSource(Source):
    """The frames of a video, named <video>/<number of six digits>.png.

    Args:
        video: the file.
    """

    def __init__(self, video: Path):
        self.video = video
        self._version = find_version(video)

    def __iter__(self) -> Iterator[Item]:
        for number, frame in enumerate(read_frames(self.video)):
            yield Item(f"{self._make_name(number)}.png", self._make_name(number), frame, self._version)

    def names(self) -> Iterator[str]:
        return map(self._make_name, range(self._num_frames))

    def iterate_keys(self) -> Iterator[str]:
        return (make_key(name, self._version) for name in self.names())

    @cached_property
    def _num_frames(self) -> int:
        # Those that are read: the header of a video may be wrong.
        return sum(1 for _ in read_frames(self.video))

    def _make_name(self, number: int) -> str:
        return f"{self.video.stem}/{number:06d}"


def make_key(name: str, version: str) -> str:
    return f"{name}\0{version}"


def get_name(key: str) -> str:
    """Return the name of the image of a key, see `Item.name`."""
    return key.partition("\0")[0]


def find_version(file: str | os.PathLike[str]) -> str:
    """Return the path of a file with its size and time of change; the path alone if it can't be read."""
    path = os.path.abspath(file)
    try:
        status = os.stat(path)
    except OSError:
        return path
    return f"{path}\0{status.st_size}\0{status.st_mtime_ns}"


def remove_suffix(name: str) -> str:
    return PurePath(name).with_suffix("").as_posix()


def find_common_folder(files: Iterable[Path]) -> Path:
    """Return the folder that all files are in or below."""
    common = ""
    for file in files:
        folder = os.path.abspath(file.parent)
        common = os.path.commonpath([common, folder]) if common else folder
    return Path(common)


def check_names(source: Source) -> None:
    """Check that the results of no two images have one name; 8 bytes of memory for each image.

    Raises:
        DataError: there is no image.
        UserError: two images have one name without suffix.
    """
    hashes = array("Q", map(hash_name, source.names()))
    if not hashes:
        raise DataError("--input: no image that is not in the folder of --output")
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.uint64), return_counts=True)
    twice = set(values[counts > 1].tolist())
    if twice:
        repeated = next(number for item in source if (number := hash_name(item.name)) in twice)
        first, second = islice((item for item in source if hash_name(item.name) == repeated), 2)
        if first.key == second.key:
            raise UserError(f"--input: {_describe(first)} is named twice; {len(twice)} such images")
        raise UserError(
            f"--input: {_describe(first)} and {_describe(second)} would have the same results, {second.name}; "
            f"{len(twice)} such names"
        )


def _describe(item: Item) -> str:
    file = item.source["file_name"] if isinstance(item.source, dict) else item.file_name
    return escape_unprintable(str(file))
