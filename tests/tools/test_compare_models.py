"""tools/compare_models.py, on the hand-drawn data set and two small models with random weights."""

import csv
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model

from unified_seg.data.io.image_files import read_image
from unified_seg.data.resolve import resolve_config

ROAD, SKY = 0, 10  # Cityscapes' semantic ids
SEMANTIC_ONLY = ["MODEL.PANOPTIC_FUSION.NAME", "", "MODEL.PROPOSAL_GENERATOR.NAME", "", "MODEL.ROI_HEADS.NAME", ""]


@pytest.fixture(scope="module")
def tool(load_tool) -> ModuleType:
    return load_tool("compare_models")


@pytest.fixture
def command(tiny_config, tiny_dataset, tmp_path):
    """Builds a command line about two models of one config, `before.pth` and `after.pth`."""
    config = tmp_path / "config.yaml"
    config.write_text(tiny_config.dump())
    for seed, name in enumerate(("before", "after")):
        torch.manual_seed(seed)
        torch.save({"model": build_model(resolve_config(tiny_config)).state_dict()}, tmp_path / f"{name}.pth")

    def build(
        *arguments: object, before: str = "before.pth", after: str = "after.pth", dataset: str = tiny_dataset.val
    ) -> list[str]:
        words = ["--dataset", dataset, "--output", tmp_path / "out"]
        words += ["--before", config, tmp_path / before, "--after", config, tmp_path / after, *arguments]
        return [str(word) for word in words]

    return build


def test_two_models_are_compared(tool, command, tmp_path, capsys):
    tool.main(command("--top", 1, "--names", "FCN", "PSPNet", "--opts", *SEMANTIC_ONLY))
    rows = list(csv.DictReader((tmp_path / "out" / "changes.csv").open()))
    assert {row["image_id"] for row in rows} == {"alpha_000000_000019", "alpha_000001_000019"}
    for row in rows:
        assert float(row["after"]) - float(row["before"]) == pytest.approx(float(row["change"]), abs=2e-4)
    assert float(rows[0]["change"]) >= float(rows[1]["change"])
    for name in ("best.png", "worst.png"):
        height, width = cv2.imread(str(tmp_path / "out" / name)).shape[:2]
        # Four pictures of 512 x 256 with 4 pixels between them, under two captions and above the legend.
        assert width == 4 * 512 + 3 * 4 and height >= 256 + 3 * 22
    assert capsys.readouterr().out.startswith("2 of 2 images: ")


@pytest.fixture
def configs(tool, monkeypatch) -> list[CfgNode]:
    """The configs of the models that the tool builds; each sees one class everywhere, the one of the id SEED."""
    built = []

    class Stub:
        read = staticmethod(read_image)

        def __init__(self, cfg: CfgNode):
            self.label = cfg.SEED
            built.append(cfg)

        def __call__(self, image: np.ndarray) -> dict[str, Any]:
            return {"sem_seg_labels": torch.full(image.shape[:2], self.label)}

    monkeypatch.setattr(tool, "Predictor", Stub)
    return built


def test_the_first_model_is_before_and_the_second_after(tool, command, configs, tmp_path):
    tool.main(command("--before-opts", "SEED", SKY, "--after-opts", "SEED", ROAD))
    assert [Path(cfg.MODEL.WEIGHTS).name for cfg in configs] == ["before.pth", "after.pth"]
    # Of 60 x 128 = 7680 labeled pixels the second image has 32 x 80 = 2560 of sky, beside a building, and
    # 28 x 128 = 3584 of road. In the first, sky has 32 x 128 without 2 x 30 of the car and 8 x 10 of the person: 3956;
    # road has 28 x 128 without 18 x 30, 22 x 10 and 18 x 14 of the bicycle: 2572.
    assert (tmp_path / "out" / "changes.csv").read_text().splitlines() == [
        "image_id,before,after,change",
        "alpha_000001_000019,33.3333,46.6667,13.3333",
        "alpha_000000_000019,51.5104,33.4896,-18.0208",
    ]


def test_overrides_of_a_side_take_precedence(tool, command, configs):
    # -1 is a value, not an option; TEST.AUG is how one model is compared with itself.
    side = ["--before-opts", "SEED", ROAD, "--after-opts", "TEST.AUG.ENABLED", True]
    tool.main(command("--opts", "SEED", SKY, "VERSION", -1, *side, "--opts", "MODEL.WEIGHTS", "other.pth"))
    assert [cfg.SEED for cfg in configs] == [ROAD, SKY] and [cfg.VERSION for cfg in configs] == [-1, -1]
    assert [cfg.TEST.AUG.ENABLED for cfg in configs] == [False, True]
    assert [Path(cfg.MODEL.WEIGHTS).name for cfg in configs] == ["before.pth", "after.pth"]


def test_label_maps_are_read_from_either_output(tool):
    logits = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])
    assert tool.semantic_labels({"sem_seg": logits}, "before").tolist() == [[0, 1]]
    assert tool.semantic_labels({"sem_seg_labels": torch.tensor([[0, 1]])}, "before").tolist() == [[0, 1]]


def test_a_model_without_a_semantic_head_is_refused(tool, command):
    detector = ["MODEL.SEM_SEG_HEAD.NAME", "", "MODEL.PANOPTIC_FUSION.NAME", ""]
    with pytest.raises(SystemExit, match=r"ConfigError: --after: the model has no semantic head"):
        tool.main(command("--after-opts", *detector))


def test_models_with_other_classes_are_refused(tool, command):
    name = "unified_test_two_classes"
    DatasetCatalog.register(name, lambda: [])
    MetadataCatalog.get(name).set(stuff_classes=["sky", "road"], ignore_label=255)
    try:
        with pytest.raises(SystemExit, match=rf"ConfigError: --after .*'{name}'"):
            tool.main(command("--after-opts", "DATASETS.TRAIN", f"('{name}',)"))
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_errors_are_one_line(tool, command, tmp_path):
    with pytest.raises(SystemExit, match=r"ConfigError: --before .*'no_such_set'"):
        tool.main(command(dataset="no_such_set"))
    with pytest.raises(SystemExit, match=r"ConfigError: --after .*config\.yaml: command line: unknown config key"):
        tool.main(command("--after-opts", "NO.SUCH.KEY", 1))
    with pytest.raises(SystemExit, match=r"CheckpointError: weights .*absent\.pth: there is no such file"):
        tool.main(command(after="absent.pth"))
    (tmp_path / "out").touch()
    with pytest.raises(SystemExit, match=r"DataError: --output: .*out"):
        tool.main(command())


@pytest.mark.parametrize("arguments", [("--top", "0"), ("--names", "one")])
def test_wrong_arguments_are_refused(tool, command, arguments, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(command(*arguments))
    assert arguments[0] in capsys.readouterr().err
