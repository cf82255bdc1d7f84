"""Draw the predictions of a trained model on images or a video, with the command line of Detectron2's demo.

    unified-seg demo --weights output/demo/model_final.pth --input street.png --output drawn.png
    unified-seg demo --weights ... --input folder --output drawn/
    unified-seg demo --weights ... --dataset unified_toyscapes_val --output drawn/
    unified-seg demo --weights ... --video-input drive.mp4 --output drawn.mp4
    unified-seg demo --config-file configs/toyscapes/unified_demo.yaml --input street.png --output drawn.png \\
        --opts MODEL.WEIGHTS weights_without_config.pth

A folder is drawn with its sub-folders. Images that can't be read are left out; they are listed at the end, and the exit
code is then 1.

Each picture shows the input beside the semantic, instance and panoptic predictions that the model makes; for a data
set with ground truth, this and the pixels with a wrong class are below. Some methods add panels: SemanticGuidedFusion
(MODEL.PANOPTIC_FUSION.NAME) shows semantic map and instances before and after the fusion; PyramidalOutputHead
(MODEL.SEM_SEG_HEAD.NAME) shows the level that predicts each pixel and the cells that a level assigns to one class;
ErrorCorrectionHead shows the semantic map before and after the correction, the error probability of each pixel and,
for a data set with ground truth, the true errors.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command
from unified_seg_cli.types import fraction


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_model_source()
    source = parser.add_image_source()
    source.add_argument("--video-input", type=Path, metavar="FILE", help="a video in a format that OpenCV reads")
    parser.add_output("a folder, or a file for a single image or video", metavar="PATH")
    threshold = "lowest score of an instance, in [0, 1]; default: %(default)s"
    parser.add_argument("--confidence-threshold", type=fraction, default=0.5, metavar="S", help=threshold)
    parser.add_overrides()
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.demo", parse_args(arguments))
