"""Export a trained model as a graph, in a folder that predicts without PyTorch and Detectron2.

    unified-seg export --weights output/demo/model_final.pth --output exported
    unified-seg export --weights ... --output exported --size 512x1024
    unified-seg export --weights ... --output exported --format torch_export --input photos/

    python exported/predict.py photo.jpg            (with numpy, numba, Pillow and onnxruntime alone)

The folder holds the graph, the classes, the form of the input, the thresholds, the code that predicts, an example with
the picture that it must give, and checksums. Before it is written, its predictions for some images are compared with
those of the model: labels, boxes, scores, masks and segments must be equal up to rounding. See docs/export.md.
"""

import argparse
from collections.abc import Sequence

from unified_seg_cli import ToolParser, run_command
from unified_seg_cli.types import image_size

# The same as in `unified_seg.export`; a test compares them.
FORMATS = ("onnx", "torch_export", "torchscript")
PRECISIONS = ("float32", "float16", "int8")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_model_source()
    parser.add_output("a new folder")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="of the graph; default: %(default)s")
    form = parser.add_mutually_exclusive_group()
    words = "a fixed size of the input, for compilers; smaller images are padded, larger ones made smaller"
    form.add_argument("--size", type=image_size, metavar="HxW", help=words)
    form.add_argument("--dynamic", action="store_true", help="an input of any size, which is the default")
    parser.add_count("--batch", "images of an input", default=1)
    words = "of the numbers of an ONNX graph; lower ones predict something else; default: %(default)s"
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help=words)
    words = "images for the comparison and for the ranges of int8; default: street scenes of Toyscapes"
    parser.add_argument("--input", nargs="+", metavar="PATH", help=words)
    parser.add_count("--max-images", "compare with the first images of --input only", default=5)
    parser.add_overrides()
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.export.command", parse_args(arguments))
