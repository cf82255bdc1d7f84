"""Export a trained model as a graph, in a folder that predicts without PyTorch and Detectron2."""

import argparse
from itertools import islice

import numpy as np

from toyscapes import make_scene, render_scene
from unified_seg.data.resolve import resolve_config
from unified_seg.export import GraphForm, export_model
from unified_seg.export.verification import Differences
from unified_seg.inference import Predictor
from unified_seg.inference.images import iterate_images
from unified_seg.inference.training_description import load_model_config
from unified_seg_runtime.images import resize_image

# The graph has numbers of 32 bits on the CPU, in whatever precision the model computes elsewhere.
OVERRIDES = (
    *("MODEL.DEVICE", "cpu", "MODEL.UNIFIED.OUTPUT", "compact"),
    *("MODEL.UNIFIED.CPU_PRECISION", "float32", "MODEL.UNIFIED.MEMORY_FORMAT", "contiguous"),
)
SCENES = 3
SCENE_SIZE = (256, 512)


def find_images(args: argparse.Namespace, predictor: Predictor) -> list[tuple[str, np.ndarray]]:
    """Return names and images for the comparison; raises DataError if --input names none."""
    if args.input:
        paths = islice((path for text in args.input for path in iterate_images(text)), args.max_images)
        images = [(str(path), predictor.read(path)) for path in paths]
    else:
        images = [(f"Toyscapes scene {index}", draw_scene(index, predictor)) for index in range(SCENES)]
    # In a graph of a fixed size smaller images have borders, which the model in PyTorch does not give them.
    return [(name, resize_image(image, args.size) if args.size else image) for name, image in images]


def draw_scene(index: int, predictor: Predictor) -> np.ndarray:
    """Return a scene as a model reads it: BGR, or its channels again and again for one of other channels."""
    scene, _ = render_scene(make_scene("standard", 0, "val", index), SCENE_SIZE)
    return np.ascontiguousarray(scene[:, :, [channel % 3 for channel in range(predictor.reader.channels)][::-1]])


def describe(found: list[Differences]) -> str:
    """Return the largest differences of all images."""
    parts = {name: max(getattr(each, name) for each in found) for name in vars(found[0])}
    return ", ".join(f"{name} {value:.3g}" for name, value in parts.items())


def run(args: argparse.Namespace) -> None:
    own_size = ("INPUT.MIN_SIZE_TEST", "0") if args.size else ()
    cfg = load_model_config(args.weights, [*args.opts, *OVERRIDES, *own_size], config_file=args.config_file)
    cfg = resolve_config(cfg, for_inference=True)
    predictor = Predictor(cfg)
    images = find_images(args, predictor)
    form = GraphForm(args.format, args.size, args.batch, args.precision)
    found = export_model(predictor, cfg, args.output, images, form)
    print(f"{args.output}: differences from the model on {len(images)} images: {describe(found)}")
