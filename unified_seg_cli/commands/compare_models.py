"""Compare trained models on a data set: scores with intervals, errors, and the images on which they differ most.

    unified-seg compare --dataset unified_toyscapes_val --top 3 --output output/fcn_and_psp \\
        --before projects/pspnet/configs/toyscapes_fcn.yaml output/pspnet/toyscapes_fcn/model_final.pth \\
        --after projects/pspnet/configs/toyscapes_psp.yaml output/pspnet/toyscapes_psp/model_final.pth \\
        --names FCN PSPNet

Both may be the same model with other options:

    unified-seg compare ... --after-opts TEST.AUG.ENABLED True TEST.AUG.SCALES '(0.75, 1.0, 1.25)'

--after may be given several times, with as many --after-opts or none; --names has the name of each model then.

The folder gets report.html, the page of an evaluation with the models side by side: differences to --before with their
95 % intervals over the images, classes, errors, and the images with the largest losses and gains. It also gets
changes.csv (pixel accuracy of both models on each image, largest gain first), best.png and worst.png (the images with
the largest gain and with the largest loss). If the panoptic fusion of a model refines the semantic map, the refined map
is compared.

If the models detect instances, and the data set has them, it also gets average_precision.json: AP of both models, the
difference, and its 95 % interval over the images. Models without a semantic head are compared in this alone. Of several
--after these files are about the last one; the page has all.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from unified_seg_cli import ToolParser, run_command


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    add = parser.add_argument
    pair = ("CONFIG", "WEIGHTS")
    add("--before", nargs=2, required=True, metavar=pair, help="the baseline")
    add("--after", nargs=2, required=True, action="append", metavar=pair, help="a model to compare with the baseline")
    overrides = "config overrides of {} alone; they take precedence over those of all models"
    options: dict[str, Any] = {"nargs": "*", "default": [], "metavar": "KEY VALUE"}
    add("--before-opts", action="extend", help=overrides.format("--before"), **options)
    add("--after-opts", action="append", help=overrides.format("its --after"), **options)
    add("--names", nargs="+", metavar="NAME", help="names of the models in the captions, the baseline first")
    parser.add_dataset("a registered data set with ground truth of semantic segmentation or instances")
    parser.add_count("--top", "images on each sheet", default=3)
    parser.add_output()
    parser.add_overrides()
    args = parser.parse_args(arguments)
    number = len(args.after)
    if number == 1:
        args.after_opts = [[word for words in args.after_opts for word in words]]
    elif len(args.after_opts) not in (0, number):
        parser.error(f"--after-opts: give it once for each of the {number} --after, or not at all")
    args.after_opts = args.after_opts or [[] for _ in args.after]
    args.names = args.names or ["before", *(f"after {i}" if number > 1 else "after" for i in range(1, number + 1))]
    if len(args.names) != number + 1:
        parser.error(f"--names: expected {number + 1}, one for each model, got {len(args.names)}")
    if len({*args.names, "change"}) != number + 2:  # the page has columns of these names
        parser.error(f"--names: must differ from each other and from `change`, got {', '.join(args.names)}")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.compare_models", parse_args(arguments))
