"""Compare two trained models: the images on which their semantic maps differ most, and their average precision.

    python tools/compare_models.py --dataset unified_toyscapes_val --top 3 --output output/fcn_and_psp \\
        --before projects/pspnet/configs/toyscapes_fcn.yaml output/pspnet/toyscapes_fcn/model_final.pth \\
        --after projects/pspnet/configs/toyscapes_psp.yaml output/pspnet/toyscapes_psp/model_final.pth \\
        --names FCN PSPNet

Both may be the same model with other options:

    python tools/compare_models.py ... --after-opts TEST.AUG.ENABLED True TEST.AUG.SCALES '(0.75, 1.0, 1.25)'

The folder gets changes.csv (pixel accuracy of both models on each image, largest gain first), best.png and worst.png
(the images with the largest gain and with the largest loss). If the panoptic fusion of a model refines the semantic
map, the refined map is compared.

If both models detect instances, and the data set has them, it also gets average_precision.json: AP of both models, the
difference, and its 95 % interval over the images. Models without a semantic head are compared in this alone.
"""

import argparse
from collections.abc import Sequence

from unified_seg_cli import ToolParser, run_command

SIDES = ("before", "after")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    add = parser.add_argument
    for side, model in zip(SIDES, ("the baseline", "the model to compare with the baseline")):
        add(f"--{side}", nargs=2, required=True, metavar=("CONFIG", "WEIGHTS"), help=model)
        overrides = f"config overrides of --{side} alone; they take precedence over those of both models"
        add(f"--{side}-opts", nargs="*", action="extend", default=[], metavar="KEY VALUE", help=overrides)
    add("--names", nargs=2, default=SIDES, metavar=("BEFORE", "AFTER"), help="names of the models in the captions")
    parser.add_dataset("a registered data set with ground truth of semantic segmentation or instances")
    parser.add_count("--top", "images on each sheet", default=3)
    parser.add_output()
    parser.add_overrides()
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.compare_models", parse_args(arguments))
