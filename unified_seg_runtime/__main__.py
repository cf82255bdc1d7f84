"""Draw the predictions of an exported model, without torch and Detectron2.

python -m unified_seg_runtime exported street.jpg                        (writes street_prediction.png here)
python -m unified_seg_runtime exported photos/*.jpg --output predicted/
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from unified_seg_files import write_atomically
from unified_seg_runtime.drawing import draw_prediction
from unified_seg_runtime.folder import FolderError
from unified_seg_runtime.images import ImageError
from unified_seg_runtime.picture_files import read_images
from unified_seg_runtime.predictor import Predictor


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m unified_seg_runtime", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the folder of an exported model")
    parser.add_argument("images", nargs="+", type=Path, metavar="image", help="image files")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="for pictures; default: here")
    args = parser.parse_args(arguments)
    try:
        predictor = Predictor(args.folder)
        for image, target in read_images(args.images, args.output):
            picture = draw_prediction(image, predictor(image), predictor.classes)
            with write_atomically(target, suffix=".png") as temporary:
                Image.fromarray(picture).save(temporary)
            print(target)
    except (FolderError, ImageError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
