"""Draw predictions on images or a video."""

import argparse
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from unified_seg.config import CfgNode
from unified_seg.data.io.image_files import IMAGE_SUFFIXES
from unified_seg.data.resolve import resolve_config
from unified_seg.errors import UserError
from unified_seg.inference import Predictor
from unified_seg.inference.files.pictures import draw_prediction
from unified_seg.inference.files.videos import iterate_frames, open_video
from unified_seg.inference.images import LeftOutFiles, find_records, find_roots, leave_out_output, make_writable
from unified_seg.inference.training_description import load_model_config
from unified_seg.visualization import draw_panels
from unified_seg.visualization.canvas import write_picture
from unified_seg_files import escape_unprintable, write_atomically

# Formats that OpenCV writes; .png is appended to other names.
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Containers that OpenCV writes on every system, and the codec of each.
VIDEO_CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".mov": "mp4v", ".avi": "MJPG"}
VIDEO_SUFFIX = ".mp4"
# Other names that mean a file, not a folder.
OTHER_SUFFIXES = (".gif", ".pdf", ".svg", ".heic", ".avif", ".jp2", ".webm", ".wmv", ".flv", ".m4v", ".mpg", ".mpeg")
MEDIA_SUFFIXES = (*PICTURE_SUFFIXES, *IMAGE_SUFFIXES, *VIDEO_CODECS, *OTHER_SUFFIXES)
DEFAULT_FRAME_RATE = 25.0
MAX_FRAME_RATE = 1000.0


def setup(args: argparse.Namespace) -> CfgNode:
    threshold = args.confidence_threshold
    # The detector drops the instances that are not drawn, so that the fusion does not use them either.
    scores = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH"]
    overrides = [word for key in scores for word in (key, str(threshold))]
    opts = [*overrides, *args.opts]
    return resolve_config(
        load_model_config(args.weights, opts, config_file=args.config_file, dataset=args.dataset), for_inference=True
    )


def names_a_file(output: Path, suffixes: Collection[str], option: str) -> bool:
    """Return whether --output names a file, with one of these suffixes, and not a folder.

    Raises:
        UserError: a file of another kind.
    """
    suffix = output.suffix.lower()
    if output.is_dir() or suffix not in (*suffixes, *MEDIA_SUFFIXES):
        return False
    if suffix not in suffixes:
        raise UserError(f"--output {output}: {option} needs a file of {', '.join(suffixes)}, or a folder")
    return True


def output_files(images: Sequence[Path], output: Path, roots: Sequence[Path] = ()) -> list[Path]:
    """Choose the file for the picture of each image, and make the folders.

    Args:
        images: the inputs.
        output: a file for a single image, else a folder.
        roots: folders whose sub-folders the pictures keep; of other images only the names are kept.

    Raises:
        DataError: a folder can't be made or written to.
        UserError: several images but one file, a file of another kind, the same file for two images, or a picture would
            overwrite its input.
    """
    if names_a_file(output, PICTURE_SUFFIXES, "a picture"):
        if len(images) > 1:
            raise UserError(f"--output {output}: one file for {len(images)} images, give a folder")
        files = [output]
    else:
        names = [_name_below(image, roots) for image in images]
        files = [output / (n if n.suffix.lower() in PICTURE_SUFFIXES else n.with_name(f"{n.name}.png")) for n in names]
    source_of: dict[Path, Path] = {}
    for image, file in zip(images, files):
        if file in source_of:
            raise UserError(f"--output {output}: {file} would hold the pictures of {source_of[file]} and of {image}")
        if file.exists() and image.exists() and file.samefile(image):
            raise UserError(f"--output {output}: would overwrite the input {image}")
        source_of[file] = image
    for folder in dict.fromkeys(file.parent for file in files):
        make_writable(folder)
    return files


def _name_below(image: Path, roots: Sequence[Path]) -> Path:
    return next((image.relative_to(root) for root in roots if image.is_relative_to(root)), Path(image.name))


def draw_images(
    predictor: Predictor, records: Sequence[dict[str, Any]], files: Sequence[Path], threshold: float
) -> None:
    """Draw the prediction for each record into its file.

    Raises:
        DataError: after all others are drawn, the images that were left out; at once if no file can be written.
    """

    def read(item: tuple[dict[str, Any], Path]) -> np.ndarray:
        return predictor.read(item[0]["file_name"])

    def draw(item: tuple[dict[str, Any], Path], image: np.ndarray, outputs: dict[str, Any]) -> str:
        record, file = item
        write_picture(file, draw_prediction(predictor, record, image, outputs, threshold))
        return _describe(outputs)

    left_out = LeftOutFiles()
    drawn = predictor.predict_all(zip(records, files), read, draw)
    for (record, file), future in tqdm(drawn, "drawing", len(records), unit="img", disable=None):
        with left_out.collect(record["file_name"]):
            tqdm.write(escape_unprintable(f"{record['file_name']} -> {file} ({future.result()})"))
    left_out.raise_any(len(records))


def draw_video(predictor: Predictor, video: Path, file: Path, threshold: float) -> int:
    """Draw the predictions for all frames; return the number of frames.

    Raises:
        UserError: the video can't be read, or the file can't be written.
    """

    def draw(frame: np.ndarray, _: np.ndarray, outputs: dict[str, Any]) -> np.ndarray:
        # A legend of all classes has the same size in each frame.
        return draw_panels(frame[:, :, ::-1], outputs, predictor.metadata, threshold, legend="all")

    with write_atomically(file, suffix=file.suffix) as temporary:
        frames = _draw_frames(predictor, video, temporary, draw)
        if not frames:
            raise UserError(f"--video-input {video}: it has no frames")
        # OpenCV says nothing of a full disk, at which it writes no more.
        written = cv2.VideoCapture(str(temporary))
        if int(written.get(cv2.CAP_PROP_FRAME_COUNT)) < frames:
            raise UserError(f"--output {file}: OpenCV could not write all {frames} frames; is the disk full?")
    return frames


def _draw_frames(predictor: Predictor, video: Path, file: Path, draw: Callable[..., np.ndarray]) -> int:
    """Draw all frames into a file that exists; return their number."""
    reader = open_video(video)
    writer = None
    frames = 0
    try:
        total = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = reader.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate <= MAX_FRAME_RATE else DEFAULT_FRAME_RATE
        drawn = predictor.predict_all(iterate_frames(reader), lambda frame: frame, draw)
        for _, future in tqdm(drawn, "drawing", total if total > 0 else None, unit="frame", disable=None):
            picture = _pad_to_even(future.result())
            writer = writer or _open_writer(file, rate, picture)
            writer.write(np.ascontiguousarray(picture[:, :, ::-1]))
            frames += 1
    finally:
        reader.release()
        if writer is not None:
            writer.release()
    return frames


def _open_writer(file: Path, rate: float, picture: np.ndarray) -> Any:
    height, width = picture.shape[:2]
    writer = cv2.VideoWriter(
        str(file), cv2.VideoWriter.fourcc(*VIDEO_CODECS[file.suffix.lower()]), rate, (width, height)
    )
    if not writer.isOpened():
        raise UserError(f"--output {file}: OpenCV can't write a video of {width}×{height} pixels")
    return writer


def _pad_to_even(picture: np.ndarray) -> np.ndarray:
    """Repeat the last row and column of odd sizes: most players need an even height and width."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


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
            raise UserError(f"--video-input {args.video_input}: there is no such file")
        is_file = names_a_file(args.output, VIDEO_CODECS, "a video")
        file = args.output if is_file else args.output / f"{args.video_input.stem}{VIDEO_SUFFIX}"
        if file.exists() and file.samefile(args.video_input):
            raise UserError(f"--output {args.output}: would overwrite the input {args.video_input}")
        make_writable(file.parent)
        frames = draw_video(Predictor(setup(args)), args.video_input, file, args.confidence_threshold)
        print(f"{args.video_input} -> {file} ({frames} frames)")
        return
    cfg = setup(args)
    records, roots = find_inputs(args, cfg)
    files = output_files([Path(record["file_name"]) for record in records], args.output, roots)
    draw_images(Predictor(cfg), records, files, args.confidence_threshold)


def find_inputs(args: argparse.Namespace, cfg: CfgNode) -> tuple[list[dict[str, Any]], list[Path]]:
    """Return the records to draw, and the folders whose sub-folders the pictures keep.

    Pictures of an earlier run, in an output folder inside of an input folder, are not drawn again.
    """
    records = find_records(args.input, args.dataset, cfg)
    if args.dataset:
        images = [Path(record["file_name"]) for record in records]
        # Only if names alone are not unique: the pictures of Cityscapes are in one folder.
        is_unique = len({image.name for image in images}) == len(images)
        return records, [] if is_unique else [Path(os.path.commonpath([image.parent for image in images]))]
    roots = find_roots(args.input)
    return leave_out_output(records, roots, args.output), roots
