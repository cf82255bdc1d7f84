"""Predict images into files, with the weights alone.

    unified-seg predict --weights output/demo/model_final.pth --input photos/ --output predicted/ --save semantic
    unified-seg predict --weights ... --input photos/ --output predicted/ --save panoptic instances pictures labelme
    unified-seg predict --weights ... --dataset unified_toyscapes_val --output predicted/ --save panoptic json
    unified-seg predict --weights ... --video-input drive.mp4 --output predicted/ --save semantic
    torchrun --nproc-per-node 2 -m unified_seg_cli predict ...    (several processes, GPUs or not, share the images)

--save names what is written, under the names of the images:

    semantic   semantic/<name>.png, class ids of the data set
    panoptic   panoptic.json and panoptic/<name>.png, COCO's panoptic format
    instances  coco_instances_results.json, COCO's instance results, and coco_images.json
    json       json/<name>.json with class names, confidence/<name>.png and, if the model predicts its errors,
               error/<name>.png
    pictures   pictures/<name>.jpg, as `unified-seg demo` draws them
    labelme    labelme/<name>.json, polygons to correct by hand

The same command again goes on where it was stopped, and predicts images again whose files were deleted; outdated.txt
lists files of images that are gone. Images that can't be read are left out; they are listed at the end and in
left_out.txt, and the exit code is then 1. See docs/inference.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command
from unified_seg_cli.types import fraction, non_negative_int

# The same as in `unified_seg.commands.predict`; a test compares them.
KINDS = ("semantic", "panoptic", "instances", "json", "pictures", "labelme")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_model_source()
    source = parser.add_image_source()
    source.add_argument("--video-input", type=Path, metavar="FILE", help="a video in a format that OpenCV reads")
    parser.add_output()
    parser.add_argument("--save", nargs="+", required=True, choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    threshold = "lowest score of an instance, in [0, 1]; default: that of the config"
    parser.add_argument("--confidence-threshold", type=fraction, metavar="S", help=threshold)
    limit = "end when more images than this can't be read or written; default: %(default)s"
    parser.add_argument("--max-left-out", type=non_negative_int, default=100, metavar="N", help=limit)
    parser.add_overrides()
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    interrupted = "interrupted; the same command goes on where it stopped"
    run_command("unified_seg.commands.predict", parse_args(arguments), interrupted=interrupted)
