#!/usr/bin/env python3
"""Draw what a trained model sees in images or in a video, with the command line of Detectron2's demo.

    python tools/demo.py --config-file configs/toyscapes/unified_demo.yaml --input street.png --output drawn.png \\
        --opts MODEL.WEIGHTS output/demo/model_final.pth
    python tools/demo.py --config-file ... --input 'folder/*.png' --output drawn/ --opts MODEL.WEIGHTS ...
    python tools/demo.py --config-file ... --dataset unified_toyscapes_val --output drawn/ --opts MODEL.WEIGHTS ...
    python tools/demo.py --config-file ... --video-input drive.mp4 --output drawn.mp4 --opts MODEL.WEIGHTS ...

Every picture shows the input beside the semantic, instance and panoptic answers, as far as the model gives them;
where a fusion refines the first two (MODEL.PANOPTIC_FUSION.NAME SemanticGuidedFusion), before and after it; below
them, of a pyramidal output, the level that answers at each pixel and the cells that a level takes for one class.
Where a head corrects its errors (MODEL.SEM_SEG_HEAD.NAME ErrorCorrectionHead), the semantic answer is shown before and
after that, with the error probability of each pixel and, of a data set, the true errors.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from unified_seg import load_config
from unified_seg.checkpoint import CheckpointError
from unified_seg.config import COMPACT, CfgNode, ConfigError
from unified_seg.data.datasets.classes import dataset_classes
from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config
from unified_seg.inference import Predictor
from unified_seg.inference.images import find_records, make_writable
from unified_seg.visualization import draw_panels

# What OpenCV can write here; other names get .png.
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
VIDEO_SUFFIX = ".mp4"
DEFAULT_FRAME_RATE = 25.0


class DemoError(RuntimeError):
    """An input or output that can't be used; the message names it."""


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="the config that the weights belong to")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", nargs="+", metavar="PATH", help="images, folders of images, or quoted patterns")
    source.add_argument(
        "--dataset", metavar="NAME", help="a registered data set, with its ground truth where it has some"
    )
    source.add_argument("--video-input", type=Path, metavar="FILE", help="a video that OpenCV reads")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="PATH", help="a folder, or a file for one image or a video"
    )
    parser.add_argument(
        "--confidence-threshold", type=float, default=0.5, metavar="S", help="lowest score, 0 to 1, of an instance"
    )
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config overrides: KEY VALUE ...")
    return parser.parse_args(arguments)


def setup(args: argparse.Namespace) -> CfgNode:
    threshold = args.confidence_threshold
    # The detector then finds what the panels show, and the fusion uses nothing else.
    scores = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH"]
    overrides = [word for key in scores for word in (key, str(threshold))]
    cfg = load_config(args.config_file, [*overrides, *args.opts], defaults=COMPACT)
    if args.dataset:
        cfg.DATASETS.TEST = (args.dataset,)
    return resolve_config(cfg)


def output_files(images: Sequence[Path], output: Path) -> list[Path]:
    """Where the picture of each image goes; folders are made.

    Raises:
        DataError: a place that can't be written to.
        DemoError: several images for one file, two images for one name, or a picture over its own input.
    """
    if output.suffix.lower() in PICTURE_SUFFIXES and not output.is_dir():
        if len(images) > 1:
            raise DemoError(f"--output {output} is one file, but there are {len(images)} images: name a folder")
        files = [output]
    else:
        keep = [p.suffix.lower() in PICTURE_SUFFIXES for p in images]
        files = [output / (p.name if kept else f"{p.name}.png") for p, kept in zip(images, keep)]
    source_of: dict[Path, Path] = {}
    for image, file in zip(images, files):
        if file in source_of:
            raise DemoError(f"{source_of[file]} and {image} would both be drawn to {file}: draw them one by one")
        if file.exists() and file.samefile(image):
            raise DemoError(f"--output {output} would overwrite the input {image}")
        source_of[file] = image
    make_writable(files[0].parent)
    return files


def draw_images(
    predictor: Predictor, records: Sequence[dict[str, Any]], files: Sequence[Path], threshold: float
) -> None:
    table = dataset_classes(predictor.metadata)
    with tqdm(total=len(records), desc="drawing", unit="img", disable=None) as bar:
        for record, file in zip(records, files):
            image = read_image(record["file_name"], "BGR")
            outputs = predictor(image)
            compares = "semantic_logit_maps" in outputs and has_semantic_ground_truth(record)
            ground_truth = read_semantic_ground_truth(record, table, size=image.shape[:2]) if compares else None
            picture = draw_panels(image[:, :, ::-1], outputs, predictor.metadata, threshold, ground_truth=ground_truth)
            _write_picture(file, picture)
            bar.update()
            bar.write(f"{record['file_name']} -> {file} ({_describe(outputs)})")


def draw_video(predictor: Predictor, video: Path, file: Path, threshold: float) -> int:
    """Draw every frame; returns their number.

    Raises:
        DemoError: the video can't be read, or the file not written.
    """
    reader = cv2.VideoCapture(str(video))
    writer = None
    frames = 0
    try:
        if not reader.isOpened():
            raise DemoError(f"--video-input {video}: OpenCV can't read it as a video")
        total = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = reader.get(cv2.CAP_PROP_FPS) or DEFAULT_FRAME_RATE
        for frame in tqdm(
            _frames(reader), total=total if total > 0 else None, desc="drawing", unit="frame", disable=None
        ):
            # The legend names all classes, so that every frame has the same size.
            picture = draw_panels(frame[:, :, ::-1], predictor(frame), predictor.metadata, threshold, legend="all")
            picture = _even(picture)
            writer = writer or _open_writer(file, rate, picture)
            writer.write(np.ascontiguousarray(picture[:, :, ::-1]))
            frames += 1
    finally:
        reader.release()
        if writer is not None:
            writer.release()
    if not frames:
        raise DemoError(f"--video-input {video}: there is no frame in it")
    return frames


def _frames(reader: Any) -> Iterator[np.ndarray]:
    while True:
        more, frame = reader.read()
        if not more:
            return
        yield frame


def _open_writer(file: Path, rate: float, picture: np.ndarray) -> Any:
    height, width = picture.shape[:2]
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
    if not writer.isOpened():
        raise DemoError(f"--output {file}: OpenCV can't write a video of {width}×{height} pixels there")
    return writer


def _even(picture: np.ndarray) -> np.ndarray:
    """Repeat the last row and column where needed: most players want even sides."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def _write_picture(file: Path, picture: np.ndarray) -> None:
    if not cv2.imwrite(str(file), picture[:, :, ::-1]):
        raise DemoError(f"--output: {file} can't be written")


def _describe(outputs: dict[str, Any]) -> str:
    parts = []
    if "sem_seg_labels" in outputs:
        parts.append("semantic map")
    if "instances" in outputs:
        instances = outputs["instances"]
        found = f" ({int(instances.found.sum())} found by semantics)" if instances.has("found") else ""
        parts.append(f"{len(instances)} instances{found}")
    if "panoptic_seg" in outputs:
        parts.append(f"{len(outputs['panoptic_seg'][1])} panoptic segments")
    return ", ".join(parts)


def run(args: argparse.Namespace) -> None:
    if args.video_input:
        if not args.video_input.is_file():
            raise DemoError(f"--video-input {args.video_input}: there is no such file")
        file = args.output
        if file.suffix.lower() != VIDEO_SUFFIX:
            file = file / f"{args.video_input.stem}{VIDEO_SUFFIX}"
        if file.exists() and file.samefile(args.video_input):
            raise DemoError(f"--output {args.output} would overwrite the input {args.video_input}")
        make_writable(file.parent)
        frames = draw_video(Predictor(setup(args)), args.video_input, file, args.confidence_threshold)
        print(f"{args.video_input} -> {file} ({frames} frames)")
        return
    cfg = setup(args)
    records = find_records(args.input, args.dataset)
    files = output_files([Path(record["file_name"]) for record in records], args.output)
    draw_images(Predictor(cfg), records, files, args.confidence_threshold)


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        run(parse_args(arguments))
    except (ConfigError, CheckpointError, DataError, DemoError) as error:
        # What a user can mend, without a traceback.
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
