"""Generation of a data set in the layout of Cityscapes, in parallel and resumable.

The pool of processes repeats a few lines of unified_seg.data.io, because the generator runs without unified_seg.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from toyscapes.labels import CATEGORIES, draw_object_map, encode_panoptic, make_label_maps
from toyscapes.layout import get_preset, make_scene, scene_name
from toyscapes.presets import SPLITS, VERSION
from toyscapes.rendering import paint
from toyscapes.scene import annotate, check_size
from unified_seg_files import check_regular, delete_tree, read_bytes, write_bytes

MANIFEST = "toyscapes.json"
# Name of the manifest while the data set is incomplete.
UNFINISHED = "toyscapes.unfinished.json"
MAX_MANIFEST_BYTES = 65_536
DEFAULT_COUNTS = {"train": 500, "heldout": 100, "val": 100}
ROOTS = ("leftImg8bit", "gtFine")
# Forked processes do not import everything again, which takes longer than 100 images.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


@dataclass(frozen=True)
class _Job:
    """One image to generate."""

    output: Path
    preset: str
    seed: int
    split: str
    index: int
    size: tuple[int, int]

    @property
    def name(self) -> str:
        return scene_name(self.split, self.index)

    @property
    def image(self) -> Path:
        return self.output / "leftImg8bit" / self.split / self.name.split("_")[0] / f"{self.name}_leftImg8bit.png"

    def ground_truth(self, suffix: str) -> Path:
        return self.output / "gtFine" / self.split / self.name.split("_")[0] / f"{self.name}_gtFine_{suffix}"

    @property
    def panoptic(self) -> Path:
        return self.output / "gtFine" / f"cityscapes_panoptic_{self.split}" / f"{self.name}_gtFine_panoptic.png"

    def files(self) -> list[Path]:
        """Return all files of this image."""
        suffixes = ("polygons.json", "labelIds.png", "labelTrainIds.png", "instanceIds.png")
        return [self.image, *map(self.ground_truth, suffixes), self.panoptic]


def generate(
    output: str | os.PathLike,
    *,
    preset: str = "demo",
    counts: Mapping[str, int] = DEFAULT_COUNTS,
    size: tuple[int, int] = (128, 256),
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    overwrite: bool = False,
) -> Path:
    """Generate a data set in the layout of Cityscapes.

    An image depends only on VERSION, preset, seed, split and index: the first images are the same for all counts. A
    complete data set with the same arguments is left unchanged, an incomplete one is completed.

    Args:
        output: folder of the data set, created if absent.
        preset: "demo" or "standard".
        counts: number of images per split ("train", "heldout", "val").
        size: (height, width) of the images.
        seed: of the generator.
        workers: number of processes; None for one per CPU.
        progress: show a progress bar.
        overwrite: replace a data set that is in the folder already.

    Returns:
        The folder.

    Raises:
        ValueError: invalid arguments.
        FileExistsError: the folder holds a data set with other arguments and `overwrite` is False, or files that were
            not generated here, which are never replaced.
    """
    output = Path(output)
    manifest = _make_manifest(preset, counts, size, seed)
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    jobs = {
        split: [_Job(output, preset, seed, split, index, check_size(size)) for index in range(manifest[split])]
        for split in SPLITS
    }
    if _check_output(output, manifest, overwrite) and _is_complete(output, jobs):
        return output
    output.mkdir(parents=True, exist_ok=True)
    _write_json(output / UNFINISHED, manifest)
    (output / MANIFEST).unlink(missing_ok=True)
    for path in {file.parent for split in jobs.values() for job in split for file in job.files()}:
        path.mkdir(parents=True, exist_ok=True)
    todo = [job for split in jobs.values() for job in split]
    segments = _write_all(todo, workers or os.cpu_count() or 1, progress)
    for split, split_jobs in jobs.items():
        _write_json(panoptic_json_path(output, split), _panoptic_json(split_jobs, segments), sort_keys=True, indent=4)
    os.replace(output / UNFINISHED, output / MANIFEST)
    return output


def _make_manifest(preset: str, counts: Mapping[str, int], size: tuple[int, int], seed: int) -> dict:
    """Check the arguments that determine the content, and return them as written to the manifest."""
    get_preset(preset)
    unknown = set(counts) - set(SPLITS)
    if unknown:
        raise ValueError(f"counts: unknown split {', '.join(sorted(unknown))}, expected {', '.join(SPLITS)}")
    for split, number in counts.items():
        if int(number) != number or number < 0:
            raise ValueError(f"counts: the number of {split} images must be an integer of at least 0, got {number}")
    height, width = check_size(size)
    return {
        "preset": preset,
        "version": VERSION,
        "size": f"{height}x{width}",
        "seed": int(seed),
        **{split: int(counts.get(split, 0)) for split in SPLITS},
    }


def _check_output(output: Path, manifest: dict, overwrite: bool) -> bool:
    """Check that `output` may be written to; return whether it holds a complete data set with this manifest."""
    finished = (output / MANIFEST).exists()
    path = output / (MANIFEST if finished else UNFINISHED)
    if not path.exists():
        unknown = [root for root in ROOTS if (output / root).exists()]
        if unknown:
            raise FileExistsError(
                f"{output / unknown[0]}: not generated by Toyscapes and not replaced; choose another output folder"
            )
        return False
    found = _read_manifest(path)
    if overwrite:
        for root in ROOTS:
            delete_tree(output / root)
        return False
    if found != manifest:
        differing = [f"{key} {found.get(key)}, not {new}" for key, new in manifest.items() if found.get(key) != new]
        raise FileExistsError(
            f"{path}: generated with {'; '.join(differing)}; choose another output folder or overwrite it"
        )
    return finished


def _read_manifest(path: Path) -> dict:
    """Return the arguments of a data set; of a damaged file none, so that they differ from those of any."""
    try:
        content = json.loads(read_bytes(path, MAX_MANIFEST_BYTES))
    except (OSError, ValueError, RecursionError):
        content = None
    return content if isinstance(content, dict) else {}


def _is_complete(output: Path, jobs: dict[str, list[_Job]]) -> bool:
    """Return whether every file exists."""
    indices = [panoptic_json_path(output, split) for split in jobs]
    return all(file.exists() for split in jobs.values() for job in split for file in job.files()) and all(
        path.exists() for path in indices
    )


def _write_all(jobs: list[_Job], workers: int, progress: bool) -> dict[str, list[dict]]:
    """Write the images; return the panoptic segments by image name."""
    workers = min(workers, len(jobs))
    with ExitStack() as stack:
        stack.enter_context(_single_threaded_opencv())
        results: Iterable[tuple[str, list[dict]]] = map(_write_image, jobs)
        if workers > 1:
            context = multiprocessing.get_context(START_METHOD)
            pool = stack.enter_context(ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)))
            # It raises if a process is killed; a Pool would wait forever.
            results = pool.map(_write_image, jobs, chunksize=4)
        return dict(tqdm(results, total=len(jobs), unit="image", desc="toyscapes", disable=not progress))


@contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """Turn off the threads of OpenCV, which compete with the workers and do not survive a fork."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _write_image(job: _Job) -> tuple[str, list[dict]]:
    """Write the files of one image unless all exist; return its name and panoptic segments."""
    if all(file.exists() for file in job.files()):
        instance_ids = _read_png(job.ground_truth("instanceIds.png"))
        return job.name, encode_panoptic(instance_ids)[1]
    scene = make_scene(job.preset, job.seed, job.split, job.index)
    polygons = annotate(scene, job.size)
    drawn = draw_object_map(polygons)
    maps = make_label_maps(polygons, drawn)
    colors, segments = encode_panoptic(maps.instance_ids)
    _write_png(job.image, paint(scene, polygons, drawn)[..., ::-1])
    _write_json(job.ground_truth("polygons.json"), polygons)
    _write_png(job.ground_truth("labelIds.png"), maps.label_ids)
    _write_png(job.ground_truth("labelTrainIds.png"), maps.train_ids)
    _write_png(job.ground_truth("instanceIds.png"), maps.instance_ids)
    _write_png(job.panoptic, colors[..., ::-1])
    return job.name, segments


def _read_png(path: Path) -> np.ndarray:
    """Return the pixels of a label; Pillow opens some other formats through outside programs.

    Raises:
        ValueError: not a PNG of labels.
    """
    try:
        check_regular(path)
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable PNG: {error}; delete it to generate it again") from None


def panoptic_json_path(output: Path, split: str) -> Path:
    """Return the path of the panoptic JSON of a split."""
    return output / "gtFine" / f"cityscapes_panoptic_{split}.json"


def _panoptic_json(jobs: list[_Job], segments: dict[str, list[dict]]) -> dict:
    """Return the panoptic JSON of a split, images sorted by path as createPanopticImgs does."""
    ordered = sorted(jobs, key=lambda job: str(job.ground_truth("instanceIds.png")))
    return {
        "images": [
            {
                "id": job.name,
                "width": job.size[1],
                "height": job.size[0],
                "file_name": f"{job.name}_gtFine_leftImg8bit.png",
            }
            for job in ordered
        ],
        "annotations": [
            {"image_id": job.name, "file_name": job.panoptic.name, "segments_info": segments[job.name]}
            for job in ordered
        ],
        "categories": CATEGORIES,
    }


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG atomically; `image` is gray or BGR."""
    # Run-length encoding suits label maps; for noisy images slower strategies compress no better.
    strategy = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, data = cv2.imencode(".png", image, strategy)
    write_bytes(path, data.tobytes())


def _write_json(path: Path, content: dict, **layout: Any) -> None:
    """Write a JSON file atomically."""
    write_bytes(path, json.dumps(content, **layout).encode())
