"""Maps of class ids from label images whose colors are classes.

H, W = an image.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unified_seg.data.coco.categories import write_classes
from unified_seg.data.conversion.legends import Color, read_legend
from unified_seg.data.conversion.paths import check_apart, find_files
from unified_seg.data.io.image_files import IMAGE_FORMATS, IMAGE_SUFFIXES, read_image
from unified_seg.data.io.label_files import write_png
from unified_seg.data.io.open_image import open_image
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.problems import DataError
from unified_seg.hints import format_hint

LOSSY_FORMATS = ("JPEG", "WEBP")
# Pillow's modes with 8 bits a channel: grayscale, palettes and alpha channels included.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
# Below all ids.
NO_CLASS = -1


class Summary(NamedTuple):
    """Counts of a folder: files, pixels, pixels of unknown colors, files with such pixels, and the first such file."""

    files: int
    pixels: int
    unknown_pixels: int
    unknown_files: int
    first_unknown: Path | None


def convert_colors(
    source: Path,
    legend_file: Path,
    output: Path,
    *,
    void: Sequence[str] = (),
    tolerance: int = 0,
    unknown: int | None = None,
    workers: int = 1,
) -> Summary:
    """Write an 8-bit grayscale PNG of ids for each label image, and classes.yaml.

    DATASETS.CUSTOM reads them as SEMANTIC and CLASSES.

    Args:
        source: the folder of the label images, in any lossless format; each PNG gets the name of its label image.
        legend_file, void: see `read_legend`.
        output: the folder to write to.
        tolerance: the largest difference in red, green and blue between a pixel and its color in the legend.
        unknown: the id of pixels in a color that the legend lacks, such as 255, void; None: they are an error.
        workers: processes.

    Raises:
        DataError: the first thing that is wrong, with file and cause.
    """
    check_apart([output], [source])
    check_apart([output / "classes.yaml"], [legend_file])
    legend = read_legend(legend_file, void)
    _check_tolerance(legend_file, list(legend.values), tolerance)
    files = find_files(source, IMAGE_SUFFIXES)
    outputs = {file: output / file.relative_to(source).with_suffix(".png") for file in files}
    _check_names(outputs)
    (output / "classes.yaml").unlink(missing_ok=True)  # that of other PNGs, if this ends early
    values = tuple(legend.values.items())
    convert = partial(_convert_file, values=values, tolerance=tolerance, unknown=unknown)
    counts = map_in_parallel(convert, list(outputs.items()), workers, "colors to ids")
    write_classes(output / "classes.yaml", legend.classes)
    lacking = [file for file, (_, pixels) in zip(files, counts) if pixels]
    return Summary(
        files=len(files),
        pixels=sum(pixels for pixels, _ in counts),
        unknown_pixels=sum(pixels for _, pixels in counts),
        unknown_files=len(lacking),
        first_unknown=lacking[0] if lacking else None,
    )


def read_colors(path: Path) -> np.ndarray:
    """Return the colors of a label image, upright; of a palette image those of its indices.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        DataError: absent or unreadable, in a lossy format, with more than 8 bits a channel, or with transparent pixels.
    """
    pixels = read_image(path, "RGBA")
    with open_image(path, IMAGE_FORMATS, decode=False) as image:
        kind, mode = str(image.format), image.mode
    if kind in LOSSY_FORMATS:
        raise DataError(f"{path}: {kind} compression changes colors; export the labels as PNG")
    if mode not in MODES:
        raise DataError(f"{path}: label images must have 8 bits a channel, got a {mode} image")
    solid = pixels[..., 3] == 255
    if not solid.all():
        row, column = (int(v) for v in np.argwhere(~solid)[0])
        raise DataError(f"{path}: {(~solid).sum()} pixels are transparent, first at row {row}, column {column}")
    return pixels[..., :3]


def convert_colors_to_ids(colors: np.ndarray, values: tuple[tuple[Color, int], ...], tolerance: int = 0) -> np.ndarray:
    """Return the id of each pixel's color.

    Args:
        colors: (H, W, 3) uint8, RGB.
        values: (color, id 0 .. 255), no two colors within twice the tolerance.
        tolerance: the largest difference of a channel.

    Returns:
        (H, W) int16: ids, and NO_CLASS for other colors.
    """
    red, green, blue = np.moveaxis(colors.astype(np.int32), -1, 0)
    return _make_lookup_table(values, tolerance)[red << 16 | green << 8 | blue]


@lru_cache(maxsize=1)  # 32 MB
def _make_lookup_table(values: tuple[tuple[Color, int], ...], tolerance: int) -> np.ndarray:
    """Return (256^3,) int16: the id of each color."""
    ids = np.full((256, 256, 256), NO_CLASS, dtype=np.int16)
    for color, value in values:
        ids[tuple(slice(max(0, channel - tolerance), channel + tolerance + 1) for channel in color)] = value
    return ids.reshape(-1)


def _check_tolerance(legend_file: Path, colors: Sequence[Color], tolerance: int) -> None:
    for one, other in combinations(colors, 2):
        distance = max(abs(a - b) for a, b in zip(one, other))
        if distance <= 2 * tolerance:
            raise DataError(
                f"{legend_file}: --tolerance must be below {(distance + 1) // 2}, got {tolerance}: a color between "
                f"{one} and {other} would be both"
            )


def _check_names(outputs: dict[Path, Path]) -> None:
    sources: dict[Path, Path] = {}
    for source, output in outputs.items():
        if output in sources:
            raise DataError(f"{source}: {sources[output].name} would have the same PNG, {output}")
        sources[output] = source


def _convert_file(
    item: tuple[Path, Path], *, values: tuple[tuple[Color, int], ...], tolerance: int, unknown: int | None
) -> tuple[int, int]:
    """Write the ids of a label image; return the number of its pixels, and of those in unknown colors."""
    file, output = item
    colors = read_colors(file)
    ids = convert_colors_to_ids(colors, values, tolerance)
    lacking = ids == NO_CLASS
    if lacking.any():
        if unknown is None:
            raise DataError(f"{file}: {_describe_unknown_color(colors, lacking)}")
        ids[lacking] = unknown
    write_png(output, ids.astype(np.uint8))
    return ids.size, int(lacking.sum())


def _describe_unknown_color(colors: np.ndarray, lacking: np.ndarray) -> str:
    row, column = (int(v) for v in np.argwhere(lacking)[0])
    color = colors[row, column]
    count = (colors == color).all(axis=-1).sum()
    where = f"{count} pixels, first at row {row}, column {column}"
    void = f"{format_hint('--unknown', 255)} makes such pixels void"
    return f"the color {tuple(color.tolist())} is not in the legend: {where}; {void}"
