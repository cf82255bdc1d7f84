"""COCO's panoptic format and semantic PNGs from labelme's drawings of things and stuff, perhaps in two splits.

H, W = an image.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from pycocotools import mask as mask_util

from unified_seg.data.coco.categories import read_classes, to_coco_categories, write_classes
from unified_seg.data.coco.masks import convert_to_rle
from unified_seg.data.conversion.instances_to_panoptic import Instance, draw_panoptic
from unified_seg.data.conversion.labelme_shapes import DrawnInstance
from unified_seg.data.conversion.labelme_to_instances import (
    DrawnImage,
    check_labels,
    make_classes,
    make_instance_json,
    read_folder,
)
from unified_seg.data.conversion.paths import check_apart
from unified_seg.data.conversion.training_config import write_training_config
from unified_seg.data.io.label_files import write_array_png, write_png
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.io.text_files import write_json
from unified_seg.data.io.typed_records import Json
from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import IGNORE_LABEL, ClassTable

TRAIN, VAL = "train", "val"


class Summary(NamedTuple):
    """Counts of a folder.

    Attributes:
        images: by split; without splits by "".
        segments: written.
        hidden: instances without a visible pixel.
        void: share of the pixels without a label.
        skipped: shapes without an area that were left out, by type.
        config: of a training; None if there was one already.
    """

    images: dict[str, int]
    segments: int
    hidden: int
    void: float
    skipped: dict[str, int]
    config: Path | None


def convert_labelme_to_panoptic(
    source: Path,
    output: Path,
    *,
    classes_file: Path | None = None,
    stuff: Collection[str] = (),
    image_root: Path | None = None,
    val_share: float = 0.0,
    skip_shapes: bool = False,
    workers: int = 1,
) -> Summary:
    """Write the labelme files of a folder as PANOPTIC, SEMANTIC and INSTANCES of DATASETS.CUSTOM, and their CLASSES.

    The output folder gets panoptic.json, panoptic/*.png, semantic/*.png, instances.json (of the things), classes.yaml
    and the config of a training on them, see `write_training_config`; with a `val_share` the names end in _train and
    _val. Shapes are read as by `convert_labelme`. All
    shapes of a stuff label are one segment; of two that overlap, the later one in the file is in front. Things are in
    front of stuff, the smaller one first. Regions `__ignore__`, and pixels without a shape, are void.

    Args:
        source: the folder, sub-folders included; every .json in it must be a labelme file.
        output: the folder to write to.
        classes_file: see `read_classes`; it may be the one that an earlier conversion wrote. None: the labels that
            occur, in alphabetical order, with ids from 1.
        stuff: without a file of classes, the labels that are stuff; the others are things.
        image_root: the folder to which the written image names are relative; None: `source`.
        val_share: about this share of the images is for validation, in [0, 1). The name of an image decides, so that it
            stays where it is when more images are labeled; 0: no splits.
        skip_shapes: leave out and count points, lines and line strips; False: they are an error.
        workers: processes.

    Raises:
        DataError: the first thing that is wrong, with file, record and cause; or a split without an image.
    """
    own_classes = output / "classes.yaml"
    keeps_classes = classes_file is not None and classes_file.resolve() == own_classes.resolve()
    check_apart([output], [source, image_root, None if keeps_classes else classes_file])
    drawn = read_folder(source, image_root, skip_shapes=skip_shapes, workers=workers)
    table = read_classes(classes_file) if classes_file else make_classes(source, drawn, stuff)
    check_labels(drawn, table, classes_file)
    _check_pngs(drawn)
    splits = _split(drawn, val_share)
    if not keeps_classes:
        write_classes(own_classes, table.classes)
    annotations: dict[str, Path] = {}
    segments = hidden = void = 0
    for split, images in splits.items():
        suffix = f"_{split}" if split else ""
        convert = partial(
            _write_image, table=table, pngs=output / f"panoptic{suffix}", semantic=output / f"semantic{suffix}"
        )
        for kind in ("panoptic", "instances"):  # those of other PNGs, if this ends early
            (output / f"{kind}{suffix}.json").unlink(missing_ok=True)
        made = map_in_parallel(convert, images, workers, f"panoptic {split}".strip())
        annotations[split] = output / f"panoptic{suffix}.json"
        write_json(annotations[split], _make_panoptic_json(images, made, table), indent=None)
        write_json(output / f"instances{suffix}.json", make_instance_json(images, table), indent=None)
        segments += sum(len(each.segments) for each in made)
        hidden += sum(each.hidden for each in made)
        void += sum(each.void for each in made)
    pixels = sum(image.size[0] * image.size[1] for image in drawn)
    skipped = dict(sum((image.drawing.skipped for image in drawn), Counter()))
    config = write_training_config(output, image_root or source, annotations, table)
    counts = {split: len(images) for split, images in splits.items()}
    return Summary(counts, segments, hidden, void / pixels, skipped, config)


def is_validation(file_name: str, share: float) -> bool:
    """Return whether the image of a name is for validation, which only its name and the share decide."""
    digest = hashlib.sha256(PurePosixPath(file_name).with_suffix("").as_posix().encode("utf-8", "surrogateescape"))
    return int.from_bytes(digest.digest()[:8], "big") / 2**64 < share


def _check_pngs(drawn: Sequence[DrawnImage]) -> None:
    """Raise DataError for two images with one name of a PNG, such as a.jpg and a.png."""
    seen: dict[PurePosixPath, str] = {}
    for image in drawn:
        png = PurePosixPath(image.file_name).with_suffix(".png")
        if png in seen:
            raise DataError(f"{image.file_name} and {seen[png]} would both have the PNG {png}; rename one of them")
        seen[png] = image.file_name


class _Made(NamedTuple):
    """What was made of an image: its segments_info, the instances without a visible pixel, and the void pixels."""

    segments: list[Json]
    hidden: int
    void: int


def _split(drawn: Sequence[DrawnImage], val_share: float) -> dict[str, list[DrawnImage]]:
    if not val_share:
        return {"": list(drawn)}
    splits: dict[str, list[DrawnImage]] = {TRAIN: [], VAL: []}
    for image in drawn:
        splits[VAL if is_validation(image.file_name, val_share) else TRAIN].append(image)
    for split, images in splits.items():
        if not images:
            raise DataError(f"--val-share {val_share:g}: none of the {len(drawn)} images is in {split}; choose another")
    return splits


def _write_image(image: DrawnImage, *, table: ClassTable, pngs: Path, semantic: Path) -> _Made:
    """Write the panoptic and the semantic PNG of an image."""
    by_name = {cls.name: cls for cls in table.classes}
    labels = np.full(image.size, table.ignore_label, dtype=np.int32)
    things = []
    for shape in image.instances:
        cls = by_name[shape.label]
        if cls.is_thing:
            things.append(Instance(cls, False, shape.segmentation, shape.where))
        else:
            labels[_decode(shape, image.size)] = cls.semantic_id
    ignored = image.drawing.ignored
    region = None if ignored is None else _decode(ignored, image.size)
    ids, segments, hidden, _ = draw_panoptic(labels, things, table, ignored=region)
    png = PurePosixPath(image.file_name).with_suffix(".png")
    write_png(pngs / png, ids)
    write_array_png(semantic / png, _make_semantic_map(ids, segments, table))
    return _Made(segments, hidden, int((ids == 0).sum()))


def _decode(shape: DrawnInstance, size: tuple[int, int]) -> np.ndarray:
    return mask_util.decode(convert_to_rle(shape.segmentation, size, shape.where)).astype(bool)


def _make_semantic_map(ids: np.ndarray, segments: Sequence[Json], table: ClassTable) -> np.ndarray:
    """Return the ids of the classes (H, W), with the void value of SEMANTIC: 255, or 65535 if that is a class."""
    wide = max(cls.dataset_id for cls in table.classes) >= IGNORE_LABEL
    values = np.full(int(ids.max()) + 1, 65535 if wide else IGNORE_LABEL, dtype=np.uint16 if wide else np.uint8)
    for segment in segments:
        values[segment["id"]] = segment["category_id"]
    return values[ids]


def _make_panoptic_json(images: Sequence[DrawnImage], made: Sequence[_Made], table: ClassTable) -> Json:
    pngs = [PurePosixPath(image.file_name).with_suffix(".png").as_posix() for image in images]
    return {
        "images": [
            {"id": index, "file_name": image.file_name, "height": image.size[0], "width": image.size[1]}
            for index, image in enumerate(images, start=1)
        ],
        "annotations": [
            {"image_id": index, "file_name": png, "segments_info": each.segments}
            for index, (png, each) in enumerate(zip(pngs, made), start=1)
        ],
        "categories": to_coco_categories(table.classes),
    }
