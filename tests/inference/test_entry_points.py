"""TEST.AUG.ENABLED in tools/train_net.py --eval-only, and in the predictor of the demo."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode

from unified_seg.inference import AugmentedSegmentor, Predictor
from unified_seg.meta_arch import UnifiedSegmentor, build_model
from unified_seg.training.run import run


@pytest.fixture
def weights(eager_config: CfgNode, tmp_path: Path) -> str:
    torch.manual_seed(0)
    torch.save({"model": build_model(eager_config).state_dict()}, tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


def evaluate(cfg: CfgNode, weights: str, folder: Path, *overrides: str) -> dict[str, Any]:
    config = folder / "config.yaml"
    config.write_text(cfg.dump())
    output = folder / "-".join(["output", *overrides])
    run(["--config-file", str(config), "--eval-only", "MODEL.WEIGHTS", weights, "OUTPUT_DIR", str(output), *overrides])
    return json.loads((output / "inference/results.json").read_text())["results"]


def test_evaluation_of_one_view_equals_the_plain_one(eager_config: CfgNode, weights: str, tmp_path: Path) -> None:
    eager_config.INPUT.MIN_SIZE_TEST = 48
    eager_config.TEST.AUG.SCALES, eager_config.TEST.AUG.FLIP = [1.0], False
    plain = evaluate(eager_config, weights, tmp_path, "TEST.AUG.ENABLED", "False")
    assert evaluate(eager_config, weights, tmp_path, "TEST.AUG.ENABLED", "True") == plain
    (several,) = evaluate(eager_config, weights, tmp_path, "TEST.AUG.SCALES", "[1.0, 1.5]").values()
    (plain,) = plain.values()
    assert several.keys() == plain.keys() >= {"sem_seg", "bbox", "segm", "panoptic_seg"}
    assert several["sem_seg"] != plain["sem_seg"]


def test_wrong_keys_end_an_evaluation_in_one_line(eager_config: CfgNode, weights: str, tmp_path: Path) -> None:
    eager_config.TEST.AUG.SCALES = [0.001]
    with pytest.raises(SystemExit, match=r"ConfigError: TEST\.AUG\.SCALES: 0\.001"):
        evaluate(eager_config, weights, tmp_path)


def test_predictor_with_one_view_equals_the_plain_one(eager_config: CfgNode, weights: str) -> None:
    eager_config.MODEL.WEIGHTS = weights
    eager_config.TEST.AUG.SCALES, eager_config.TEST.AUG.FLIP = [1.0], False
    augmented = Predictor(eager_config)
    eager_config.TEST.AUG.ENABLED = False
    plain = Predictor(eager_config)
    assert isinstance(augmented.model, AugmentedSegmentor) and isinstance(plain.model, UnifiedSegmentor)
    image = torch.randint(0, 256, (90, 70, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()
    found, expected = augmented(image), plain(image)
    assert found["sem_seg_labels"].shape == (90, 70)
    assert torch.equal(found["sem_seg_labels"], expected["sem_seg_labels"])
    assert torch.equal(found["panoptic_seg"][0], expected["panoptic_seg"][0])
