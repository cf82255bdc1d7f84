"""Rank images by how wrong or unsure a model is about them, to choose which images to label next.

    unified-seg rank --weights output/corrected/model_final.pth --input unlabeled/ --output output/ranking
    unified-seg rank --weights ... --dataset unified_toyscapes_val --output output/ranking

A model with a head that predicts its errors (ErrorCorrectionHead) ranks by these, any other one by its entropy. The
folder gets ranking.csv, with one line for each image:

    predicted_error        mean error probability of the pixels, after undoing the balance of right and wrong pixels in
                           the loss of the error branch; of a model that predicts its errors
    predicted_error_share  share of the pixels whose error probability is above ERROR_CORRECTION.THRESHOLD; likewise
    mean_entropy           mean softmax entropy of the prediction before correction, as a share of the largest entropy;
                           of a detector alone the mean entropy of the scores of its detections
    true_error             share of the labeled pixels that are wrong before correction, with ground truth

The first --top images are those to label next. So that near-duplicates do not fill them, they are chosen among the
first 4 * --top: none is like another by the features of the backbone (greedy k-center). The other images follow. Both
parts have the highest number first. --no-diversity ranks by the number alone.

It also gets contact_sheet.jpg, the first images with their predictions and where the model is unsure in tiles of one
size, of at most 2 MB, and summary.json. With ground truth, the summary has the rank correlations (Spearman) of
predicted_error and mean_entropy with true_error; --into puts them into a README.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_model_source()
    parser.add_image_source()
    parser.add_output()
    parser.add_count("--top", "images to label next, which are on the contact sheet", default=12)
    alike = "let images that are alike be among the first ones"
    parser.add_argument("--no-diversity", dest="diversity", action="store_false", help=alike)
    into = "a README; the rank correlations go between its markers 'ranking'"
    parser.add_argument("--into", type=Path, metavar="README", help=into)
    parser.add_overrides()
    args = parser.parse_args(arguments)
    if args.into is not None and args.dataset is None:
        parser.error("--into needs a --dataset with ground truth")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.rank_by_error", parse_args(arguments), also=(OSError,))
