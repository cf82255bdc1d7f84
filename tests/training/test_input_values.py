"""Trainings on images of other depths and channels, up to their predictions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model
import torch
from PIL import Image
from tiff import write_tiff
from tiny_model import to_overrides

from unified_seg.training.run import run

pytestmark = pytest.mark.usefixtures("forget_datasets")

ROOT = Path(__file__).parents[2]
SIZE = (64, 96)
# A fast model with random weights.
TINY = [
    *to_overrides(tiny_model.TINY),
    *("INPUT.MIN_SIZE_TRAIN", "(64, 64)", "SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "2"),
]
SEMANTIC = [
    *("MODEL.ROI_HEADS.NAME", "", "MODEL.PROPOSAL_GENERATOR.NAME", "", "MODEL.MASK_ON", "False"),
    *("MODEL.PANOPTIC_FUSION.NAME", ""),
]


@pytest.fixture
def fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images a.png and b.png of 16 bits, of a camera with 12, with semantic labels."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for index, name in enumerate("ab"):
        pixels = np.random.default_rng(index).integers(0, [4096, 900][index], SIZE).astype(np.uint16)
        pixels[0, 0] = [4095, 900][index]
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
        labels = np.kron([[0, 1]], np.ones((SIZE[0], SIZE[1] // 2))).astype(np.uint8)
        Image.fromarray(labels).save(tmp_path / "labels" / f"{name}.png")
    (tmp_path / "classes.yaml").write_text("[left, right]")
    return tmp_path


def write_config(fields: Path, images: str = "images") -> Path:
    config = fields / "config.yaml"
    bases = [f"{ROOT}/configs/base/unified_fpn.yaml", f"{ROOT}/configs/base/slim_r18_128x256.yaml"]
    entry = {"NAME": "fields", "IMAGES": images, "SEMANTIC": "labels", "CLASSES": "classes.yaml"}
    datasets = {"TRAIN": ["fields"], "TEST": ["fields"], "CUSTOM": [entry]}
    content: dict[str, Any] = {"_BASE_": bases, "DATASETS": datasets, "OUTPUT_DIR": str(fields / "output")}
    config.write_text(json.dumps(content))  # JSON is YAML
    return config


@pytest.mark.end_to_end
def test_the_range_of_the_training_images_is_used_and_kept(fields: Path, load_script: Any) -> None:
    config = write_config(fields)
    run(["--config-file", str(config), *TINY, *SEMANTIC])
    output = fields / "output"
    checkpoint = torch.load(output / "model_final.pth", weights_only=False)
    assert checkpoint["trainer"]["value_range"] == [0, 4095]
    log = (output / "log.txt").read_text().splitlines()
    (line,) = [line for line in log if "DEFAULT_VALUE_RANGE: 0 to 4095" in line]
    assert "2 images" in line
    weights = [*TINY, *SEMANTIC, "MODEL.WEIGHTS", str(output / "model_final.pth")]
    run(["--config-file", str(config), "--eval-only", *weights])
    assert "INPUT.DEFAULT_VALUE_RANGE: 0 to 4095, as in the training" in (output / "log.txt").read_text()
    demo = load_script(ROOT / "tools" / "demo.py")
    arguments = ["--input", str(fields / "images"), "--output", str(fields / "drawn"), "--opts", *weights]
    demo.main(["--config-file", str(config), *arguments])
    assert len(list((fields / "drawn").iterdir())) == 2
    # A resumed run goes on with its range, though an image is brighter now.
    Image.fromarray(np.full(SIZE, 9000, np.uint16)).save(fields / "images" / "b.png")
    run(["--config-file", str(config), "--resume", *TINY, *SEMANTIC, "SOLVER.MAX_ITER", "3"])
    checkpoint = torch.load(output / "model_final.pth", weights_only=False)
    assert (checkpoint["iteration"], checkpoint["trainer"]["value_range"]) == (2, [0, 4095])
    assert "DEFAULT_VALUE_RANGE was" not in (output / "log.txt").read_text()


@pytest.mark.end_to_end
def test_bands_are_trained_on_and_evaluated(fields: Path, load_script: Any) -> None:
    (fields / "bands").mkdir()
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (*SIZE, 12), dtype=np.uint8)
        write_tiff(fields / "bands" / f"{name}.tif", pixels)
    config = write_config(fields, images="bands")
    keys = ["INPUT.FORMAT", "BANDS", "MODEL.PIXEL_MEAN", str([1.0] * 12), "MODEL.PIXEL_STD", str([1.0] * 12)]
    keys += ["INPUT.ROTATION.DEGREES", "10.0", "INPUT.ROTATION.PROB", "1.0", "INPUT.BRIGHTNESS", "[0.9, 1.1]"]
    keys += ["INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE", "absolute", "INPUT.CROP.SIZE", "[96, 96]"]
    keys += ["INPUT.CROP.PAD", "True", "INPUT.BLUR.PROB", "1.0", "INPUT.RANDOM_SCALE", "[0.5, 1.5]"]
    results = run(["--config-file", str(config), *TINY, *SEMANTIC, *keys])
    assert results["sem_seg"]["mIoU"] >= 0
    demo = load_script(ROOT / "tools" / "demo.py")
    weights = [*TINY, *SEMANTIC, *keys, "MODEL.WEIGHTS", str(fields / "output" / "model_final.pth")]
    arguments = ["--input", str(fields / "bands"), "--output", str(fields / "drawn"), "--opts", *weights]
    demo.main(["--config-file", str(config), *arguments])
    assert len(list((fields / "drawn").iterdir())) == 2


def test_other_channels_end_the_run_before_it_starts(fields: Path) -> None:
    for name in "ab":
        (fields / "images" / f"{name}.png").unlink()
        write_tiff(fields / "images" / f"{name}.tif", np.zeros((*SIZE, 12), dtype=np.uint8))
    with pytest.raises(SystemExit, match=r"a\.tif: unsupported: 12 channels, the model reads 3"):
        run(["--config-file", str(write_config(fields)), *TINY, *SEMANTIC])
    assert not (fields / "output" / "model_final.pth").exists()
