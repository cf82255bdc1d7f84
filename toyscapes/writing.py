"""Writing a data set to disk in the layout of Cityscapes, in parallel, once."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from toyscapes.labels import CATEGORIES, label_maps, object_map, panoptic
from toyscapes.layout import check_preset, make_scene, scene_name
from toyscapes.presets import SPLITS, VERSION
from toyscapes.rendering import paint
from toyscapes.scene import annotation, check_size

MANIFEST = "toyscapes.json"
# Its name while the data set is being written: who finds MANIFEST finds a whole data set.
UNFINISHED = "toyscapes.unfinished.json"
DEFAULT_COUNTS = {"train": 500, "heldout": 100, "val": 100}
ROOTS = ("leftImg8bit", "gtFine")
# As PyTorch's loaders do: where forking is safe it spares every process the imports, which take longer than 100 images.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


@dataclass(frozen=True)
class _Job:
    """One image to write."""

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
    def picture(self) -> Path:
        return self.output / "leftImg8bit" / self.split / self.name.split("_")[0] / f"{self.name}_leftImg8bit.png"

    def ground_truth(self, suffix: str) -> Path:
        return self.output / "gtFine" / self.split / self.name.split("_")[0] / f"{self.name}_gtFine_{suffix}"

    @property
    def panoptic(self) -> Path:
        return self.output / "gtFine" / f"cityscapes_panoptic_{self.split}" / f"{self.name}_gtFine_panoptic.png"

    def files(self) -> list[Path]:
        """Everything that is written for this image."""
        suffixes = ("polygons.json", "labelIds.png", "labelTrainIds.png", "instanceIds.png")
        return [self.picture, *map(self.ground_truth, suffixes), self.panoptic]


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
    """Write a data set in the layout of Cityscapes and return its folder.

    `counts` maps splits ("train", "heldout", "val") to numbers of images, `size` is (height, width) of the pictures,
    `workers` the number of processes (default: one per CPU). An image depends on version, preset, seed, split and
    index alone, so the first images are the same whatever the counts. A folder that already holds the same data set is
    left as it is, one that was left unfinished is finished.

    Raises ValueError for bad arguments, and FileExistsError if the folder holds another data set: one of this
    generator is replaced with `overwrite`, one of other origin never.
    """
    output = Path(output)
    manifest = _describe(preset, counts, size, seed)
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    jobs = {
        split: [_Job(output, preset, seed, split, index, check_size(size)) for index in range(manifest[split])]
        for split in SPLITS
    }
    if _claim(output, manifest, overwrite) and _is_whole(output, jobs):
        return output
    output.mkdir(parents=True, exist_ok=True)
    _write_json(output / UNFINISHED, manifest)
    (output / MANIFEST).unlink(missing_ok=True)
    for path in {file.parent for split in jobs.values() for job in split for file in job.files()}:
        path.mkdir(parents=True, exist_ok=True)
    todo = [job for split in jobs.values() for job in split]
    segments = _write_all(todo, workers or os.cpu_count() or 1, progress)
    for split, images in jobs.items():
        _write_json(panoptic_index(output, split), _panoptic_json(images, segments), sort_keys=True, indent=4)
    os.replace(output / UNFINISHED, output / MANIFEST)
    return output


def _describe(preset: str, counts: Mapping[str, int], size: tuple[int, int], seed: int) -> dict:
    """The arguments that decide the content, checked, as they are kept in the manifest."""
    check_preset(preset)
    unknown = set(counts) - set(SPLITS)
    if unknown:
        raise ValueError(f"unknown split {', '.join(sorted(unknown))} in counts; there are {', '.join(SPLITS)}")
    for split, number in counts.items():
        if int(number) != number or number < 0:
            raise ValueError(f"the number of {split} images must be a whole number, 0 or more, got {number}")
    height, width = check_size(size)
    return {
        "preset": preset,
        "version": VERSION,
        "size": f"{height}x{width}",
        "seed": int(seed),
        **{split: int(counts.get(split, 0)) for split in SPLITS},
    }


def _claim(output: Path, manifest: dict, overwrite: bool) -> bool:
    """Make sure that `output` may be written to; tells whether it holds this very data set, finished."""
    finished = (output / MANIFEST).exists()
    path = output / (MANIFEST if finished else UNFINISHED)
    if not path.exists():
        foreign = [root for root in ROOTS if (output / root).exists()]
        if foreign:
            raise FileExistsError(
                f"{output} holds a folder {foreign[0]} that this generator did not write; choose another folder"
            )
        return False
    found = json.loads(path.read_text())
    if overwrite:
        for root in ROOTS:
            shutil.rmtree(output / root, ignore_errors=True)
        return False
    if found != manifest:
        differing = [f"{key} {found.get(key)}, not {new}" for key, new in manifest.items() if found.get(key) != new]
        raise FileExistsError(
            f"{output} was generated with {'; '.join(differing)}: choose another folder, or overwrite it"
        )
    return finished


def _is_whole(output: Path, jobs: dict[str, list[_Job]]) -> bool:
    """Whether every file is there."""
    indices = [panoptic_index(output, split) for split in jobs]
    return all(file.exists() for split in jobs.values() for job in split for file in job.files()) and all(
        path.exists() for path in indices
    )


def _write_all(jobs: list[_Job], workers: int, progress: bool) -> dict[str, list[dict]]:
    """Write the images; returns the panoptic segments by image name."""
    workers = min(workers, len(jobs))
    with ExitStack() as stack:
        stack.enter_context(_single_threaded_opencv())
        results: Iterable[tuple[str, list[dict]]] = map(_write_image, jobs)
        if workers > 1:
            context = multiprocessing.get_context(START_METHOD)
            pool = stack.enter_context(context.Pool(workers, initializer=cv2.setNumThreads, initargs=(1,)))
            results = pool.imap_unordered(_write_image, jobs, chunksize=4)
        return dict(tqdm(results, total=len(jobs), unit="image", desc="toyscapes", disable=not progress))


@contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """No threads of OpenCV's: they would compete with the workers, and would be missing after a fork."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _write_image(job: _Job) -> tuple[str, list[dict]]:
    """Write the files of one image unless they are all there; returns its name and panoptic segments."""
    if all(file.exists() for file in job.files()):
        instance_ids = np.asarray(Image.open(job.ground_truth("instanceIds.png")))
        return job.name, panoptic(instance_ids)[1]
    scene = make_scene(job.preset, job.seed, job.split, job.index)
    polygons = annotation(scene, job.size)
    drawn = object_map(polygons)
    maps = label_maps(polygons, drawn)
    colors, segments = panoptic(maps.instance_ids)
    _write_png(job.picture, paint(scene, polygons, drawn)[..., ::-1])
    _write_json(job.ground_truth("polygons.json"), polygons)
    _write_png(job.ground_truth("labelIds.png"), maps.label_ids)
    _write_png(job.ground_truth("labelTrainIds.png"), maps.train_ids)
    _write_png(job.ground_truth("instanceIds.png"), maps.instance_ids)
    _write_png(job.panoptic, colors[..., ::-1])
    return job.name, segments


def panoptic_index(output: Path, split: str) -> Path:
    """Where the panoptic JSON of a split is."""
    return output / "gtFine" / f"cityscapes_panoptic_{split}.json"


def _panoptic_json(jobs: list[_Job], segments: dict[str, list[dict]]) -> dict:
    """The index of a split, images in the order of createPanopticImgs: that of their paths."""
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


def _write_png(path: Path, picture: np.ndarray) -> None:
    """Write an image, whole or not at all."""
    # Runs suit flat labels, and noisy pictures do not compress any better by slower strategies.
    strategy = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, data = cv2.imencode(".png", picture, strategy)
    _replace(path, data.tobytes())


def _write_json(path: Path, content: dict, **layout: Any) -> None:
    """Write a JSON file, whole or not at all."""
    _replace(path, json.dumps(content, **layout).encode())


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(data)
    os.replace(partial, path)
