"""Rank images by the error that a model predicts for them, to choose which images to label next.

    python tools/rank_by_error.py --config-file config.yaml --input 'unlabeled/*.jpg' --output output/ranking \\
        --opts MODEL.WEIGHTS output/corrected/model_final.pth
    python tools/rank_by_error.py --config-file config.yaml --dataset unified_toyscapes_val --output ... --opts ...

The model needs a head that predicts its errors (MODEL.SEM_SEG_HEAD.NAME ErrorCorrectionHead). The folder gets
ranking.csv, with one line for each image, highest predicted error first:

    predicted_error        mean error probability of the pixels, after undoing the balance of right and wrong pixels in
                           the loss of the error branch
    predicted_error_share  share of the pixels whose error probability is above ERROR_CORRECTION.THRESHOLD
    mean_entropy           mean softmax entropy of the prediction before correction, as a share of the largest entropy:
                           the usual ranking without an error branch
    true_error             share of the labeled pixels that are wrong before correction, with ground truth

It also gets contact_sheet.png, the first images with their predictions and error probabilities, and summary.json. With
ground truth, the summary has the rank correlations (Spearman) of predicted_error and mean_entropy with true_error;
--into puts them into a README.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_config_file()
    parser.add_image_source()
    parser.add_output()
    parser.add_count("--top", "images on the contact sheet", default=12)
    into = "a README; the rank correlations go between its markers 'ranking'"
    parser.add_argument("--into", type=Path, metavar="README", help=into)
    parser.add_overrides()
    args = parser.parse_args(arguments)
    if args.into is not None and args.dataset is None:
        parser.error("--into needs a --dataset with ground truth")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.rank_by_error", parse_args(arguments), also=(OSError,))
