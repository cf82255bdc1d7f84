"""tools/visualize_data.py, on the hand-drawn data set, whose images show their classes' colors."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from PIL import Image

from unified_seg.data.datasets.cityscapes import register_cityscapes_like
from unified_seg.visualization.panels import SEMANTIC_OPACITY
from unified_seg_cli.commands.visualize_data import main, parse_args

pytestmark = pytest.mark.end_to_end

COPY = "unified_test_streets_copy"


@pytest.fixture
def command(tiny_config, tmp_path):
    (tmp_path / "config.yaml").write_text(tiny_config.dump())

    def build(source: str, *arguments: object) -> list[str]:
        head = ["--source", source, "--config-file", tmp_path / "config.yaml", "--output", tmp_path / "drawn"]
        return [str(word) for word in [*head, *arguments]]

    return build


def test_annotations_are_drawn_once_each(command, tmp_path):
    main(command("annotation"))
    names = sorted(file.name for file in (tmp_path / "drawn").iterdir())
    assert names == [f"{i}_alpha_{i:06d}_000019.png" for i in range(4)]
    # Image, semantic, instances and panoptic, two by two.
    assert cv2.imread(str(tmp_path / "drawn" / names[0])).shape[1] == 2 * 512 + 4


@pytest.fixture
def images(tiny_dataset, tmp_path, forget_datasets) -> list[Path]:
    """The images of a copy of the training set, which a test may change."""
    shutil.copytree(tiny_dataset.root, tmp_path / "streets")
    register_cityscapes_like(COPY, tmp_path / "streets", "train")
    return [Path(record["file_name"]) for record in DatasetCatalog.get(COPY)]


def test_unreadable_images_are_left_out_and_named(command, images, tmp_path):
    images[1].write_bytes(images[1].read_bytes()[:100])
    with pytest.raises(SystemExit, match=rf"UnreadableError: 1 of 4 images .*\n  .*{images[1].name}"):
        main(command("annotation", "DATASETS.TRAIN", [COPY]))
    assert len(list((tmp_path / "drawn").iterdir())) == 3


def test_floats_are_drawn_as_training_reads_them(command, images, tmp_path):
    for image in images:
        gray = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
        Image.fromarray(gray.astype(np.float32) / 255).save(image, format="TIFF")
    main(command("dataloader", "--num-images", 2, "DATASETS.TRAIN", [COPY]))
    assert len(list((tmp_path / "drawn").iterdir())) == 2


def test_a_number_limits_the_pictures(command, tmp_path):
    main(command("annotation", "--num-images", 2))
    assert len(list((tmp_path / "drawn").iterdir())) == 2


def test_the_loader_repeats_after_its_last_image(command, tmp_path):
    main(command("dataloader", "--num-images", 6))
    assert len(list((tmp_path / "drawn").iterdir())) == 6


def test_image_and_labels_move_together(command, tmp_path):
    # Flipped with probability 1/2 and not resized. An image shows the color of each pixel's class, so a semantic
    # panel that moved with it is, away from names and void, the blend of that color with the image's gray.
    sizes = ["INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TRAIN_SAMPLING", "choice", "SEED", "3"]
    main(command("dataloader", "--num-images", 8, *sizes))
    mirrored = set()
    for file in sorted((tmp_path / "drawn").iterdir()):
        picture = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        image, semantic = picture[22:278, :512], picture[22:278, 516:1028]
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
        blended = SEMANTIC_OPACITY * image.astype(float) + (1 - SEMANTIC_OPACITY) * gray
        agrees = np.abs(blended - semantic).max(axis=2) < 3
        # The rest: names, void (4 of 64 rows), and edges, where the enlarged image is smooth and the labels are not.
        assert agrees.mean() > 0.7
        # The building, of color (70, 70, 70), stands at the left; if it is at the right, the image is mirrored.
        left, right = image[40, 20, 2] == 70, image[40, 491, 2] == 70
        mirrored |= {bool(right)} if left != right else set()
    assert mirrored == {True, False}


def test_seeded_drawings_are_the_same(command, tmp_path):
    pictures = []
    for _ in range(2):
        main(command("dataloader", "--num-images", 3, "SEED", "5"))
        pictures.append([(file.name, file.read_bytes()) for file in sorted((tmp_path / "drawn").glob("*.png"))])
    assert pictures[0] == pictures[1] and len(pictures[0]) == 3


def test_earlier_spellings_of_options_work():
    args = parse_args(
        ["--source", "annotation", "--config-file", "c.yaml", "--output-dir", "out", "--num", "2", "SEED", "5"]
    )
    assert (args.output, args.num_images, args.opts) == (Path("out"), 2, ["SEED", "5"])


def test_errors_are_one_line(command, tmp_path):
    with pytest.raises(SystemExit, match=r"ConfigError.*no_such_set"):
        main(command("annotation", "DATASETS.TRAIN", "('no_such_set',)"))
    (tmp_path / "drawn").write_text("a file")
    with pytest.raises(SystemExit, match=r"DataError: --output: .*drawn"):
        main(command("annotation"))
