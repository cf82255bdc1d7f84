"""Predict images into files."""

import argparse
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from unified_seg.checkpoint.downloads import fetch
from unified_seg.config import ConfigError, dump_config
from unified_seg.config.refused import is_url
from unified_seg.data.datasets.alignment import load_for_model
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation import list_tasks
from unified_seg.inference import Predictor
from unified_seg.inference.files.labelme import LabelmeWriter
from unified_seg.inference.files.pictures import PictureWriter
from unified_seg.inference.files.prediction_run import PredictionRun
from unified_seg.inference.files.sources import FileSource, RecordSource, Source, VideoSource, check_names
from unified_seg.inference.files.writers import InstanceWriter, JsonWriter, PanopticWriter, SemanticWriter, Writer
from unified_seg.inference.images import make_writable
from unified_seg.inference.training_description import load_model_config
from unified_seg.meta_arch.kept_logits import keep_logits
from unified_seg.structures.class_table import ClassTable
from unified_seg.training.launch import join_torchrun
from unified_seg.training.lifecycle.lock import lock_folder
from unified_seg.training.lifecycle.processes import call_in_first
from unified_seg_files import hash_file

WRITERS: dict[str, type[Writer]] = {
    "semantic": SemanticWriter,
    "panoptic": PanopticWriter,
    "instances": InstanceWriter,
    "json": JsonWriter,
    "pictures": PictureWriter,
    "labelme": LabelmeWriter,
}
# Pictures have instances of at least this score, unless --confidence-threshold says otherwise.
DRAWN_SCORE = 0.5


def setup(args: argparse.Namespace) -> CfgNode:
    cfg = load_model_config(args.weights, args.opts, config_file=args.config_file, dataset=args.dataset)
    if args.confidence_threshold is not None:
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = args.confidence_threshold
        cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = args.confidence_threshold
    return resolve_config(cfg, for_inference=True)


def find_source(args: argparse.Namespace, cfg: CfgNode) -> tuple[Source, ClassTable | None]:
    """Return the images, and the classes with the ids of their data set; None: those of the model.

    Raises:
        DataError: no image.
        UserError: two images with one name, or a video that can't be read.
        ConfigError: the data set has other classes than the model.
    """
    table = None
    source: Source
    if args.video_input:
        source = VideoSource(args.video_input)
    elif args.dataset:
        records, table = load_for_model(args.dataset, cfg)
        if not records:
            raise DataError(f"--dataset {args.dataset}: it has no records")
        source = RecordSource(records)
    else:
        source = FileSource(args.input, args.output)
    check_names(source)
    return source, table


def describe_settings(args: argparse.Namespace, cfg: CfgNode) -> dict[str, Any]:
    """Return what the results depend on, as JSON can hold it."""
    weights = cfg.MODEL.WEIGHTS
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = cfg.MODEL.DEVICE = ""
    return {
        "input": args.dataset or [str(Path(each).expanduser().absolute()) for each in args.input or [args.video_input]],
        "save": sorted(set(args.save)),
        "weights": hash_file(fetch(weights) if is_url(weights) else weights),
        "config": {key: dump_config(cfg[key]) for key in ("MODEL", "INPUT", "TEST")},
    }


def build_writers(args: argparse.Namespace, table: ClassTable, tasks: list[str], predictor: Predictor) -> list[Writer]:
    """Build the writers of --save.

    Raises:
        ConfigError: one of a prediction that the model does not make.
        DataError: classes that a format can't hold.
    """
    with_masks = "segm" in tasks
    drawn = DRAWN_SCORE if args.confidence_threshold is None else args.confidence_threshold
    build: dict[str, Any] = {
        **WRITERS,
        "instances": partial(InstanceWriter, with_masks=with_masks),
        "json": partial(JsonWriter, with_masks=with_masks),
        "pictures": lambda folder, _: PictureWriter(folder, predictor, drawn),
    }
    for kind in args.save:
        if missing := [task for task in WRITERS[kind].needs if task not in tasks]:
            raise ConfigError(f"--save {kind}: the model predicts no {', '.join(missing)}, only {', '.join(tasks)}")
    return [build[kind](args.output, table) for kind in dict.fromkeys(args.save)]


def run(args: argparse.Namespace) -> None:
    cfg = setup(args)
    with join_torchrun(cfg.MODEL.DEVICE), ExitStack() as stack:
        call_in_first(lambda: make_writable(args.output))
        call_in_first(lambda: stack.enter_context(lock_folder(args.output, "--output")))
        source, table = find_source(args, cfg)
        predictor = Predictor(cfg)
        if "json" in args.save:
            stack.enter_context(keep_logits(predictor.model))
        table = table or predictor.classes
        writers = build_writers(args, table, list_tasks(cfg), predictor)
        prediction = PredictionRun(args.output, source, describe_settings(args, cfg))
        if total := prediction.predict(predictor, writers, args.max_left_out):
            print(f"{total} images: {args.output}")
