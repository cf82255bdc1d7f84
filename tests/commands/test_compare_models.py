"""tools/compare_models.py, on the hand-drawn data set and two small models with random weights."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from random_model import random_state

from unified_seg.commands import compare_models
from unified_seg.data.io.image_files import read_image
from unified_seg_cli.commands.compare_models import main, parse_args

pytestmark = pytest.mark.end_to_end

ROAD, SKY = 0, 10  # Cityscapes' semantic ids
DETECTOR = ["MODEL.SEM_SEG_HEAD.NAME", "", "MODEL.PANOPTIC_FUSION.NAME", ""]
SEMANTIC_ONLY = ["MODEL.PANOPTIC_FUSION.NAME", "", "MODEL.PROPOSAL_GENERATOR.NAME", "", "MODEL.ROI_HEADS.NAME", ""]


@pytest.fixture
def command(tiny_config, tiny_dataset, tmp_path):
    """Builds a command line about two models of one config, `before.pth` and `after.pth`."""
    config = tmp_path / "config.yaml"
    config.write_text(tiny_config.dump())
    for seed, name in enumerate(("before", "after")):
        torch.save({"model": random_state(tiny_config, seed)}, tmp_path / f"{name}.pth")

    def build(
        *arguments: object, before: str = "before.pth", after: str = "after.pth", dataset: str = tiny_dataset.val
    ) -> list[str]:
        words = ["--dataset", dataset, "--output", tmp_path / "out"]
        words += ["--before", config, tmp_path / before, "--after", config, tmp_path / after, *arguments]
        return [str(word) for word in words]

    return build


def test_two_models_are_compared(command, tmp_path, capsys):
    main(command("--top", 1, "--names", "FCN", "PSPNet", "--opts", *SEMANTIC_ONLY))
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
def configs(monkeypatch) -> list[CfgNode]:
    """The configs of the models that the tool builds; each sees one class everywhere, the one of the id SEED."""
    built = []

    class Stub(compare_models.Predictor):
        read = staticmethod(read_image)
        model, at_once = torch.nn.Identity(), 0

        def __init__(self, cfg: CfgNode):
            self.label = cfg.SEED
            built.append(cfg)

        def __call__(self, image: np.ndarray) -> dict[str, Any]:
            return {"sem_seg_labels": torch.full(image.shape[:2], self.label)}

    monkeypatch.setattr(compare_models, "Predictor", Stub)
    monkeypatch.setattr(compare_models, "list_tasks", lambda cfg: ["sem_seg"])
    monkeypatch.setattr(compare_models, "write_report", lambda *_: None)  # takes seconds; other tests write it
    return built


def test_the_first_model_is_before_and_the_second_after(command, configs, tmp_path):
    main(command("--before-opts", "SEED", SKY, "--after-opts", "SEED", ROAD))
    assert [Path(cfg.MODEL.WEIGHTS).name for cfg in configs] == ["before.pth", "after.pth"]
    # Of 60 x 128 = 7680 labeled pixels the second image has 32 x 80 = 2560 of sky, beside a building, and
    # 28 x 128 = 3584 of road. In the first, sky has 32 x 128 without 2 x 30 of the car and 8 x 10 of the person: 3956;
    # road has 28 x 128 without 18 x 30, 22 x 10 and 18 x 14 of the bicycle: 2572.
    assert (tmp_path / "out" / "changes.csv").read_text().splitlines() == [
        "image_id,before,after,change",
        "alpha_000001_000019,33.3333,46.6667,13.3333",
        "alpha_000000_000019,51.5104,33.4896,-18.0208",
    ]


def test_overrides_of_a_side_take_precedence(command, configs):
    # -1 is a value, not an option; TEST.AUG is how one model is compared with itself.
    side = ["--before-opts", "SEED", ROAD, "--after-opts", "TEST.AUG.ENABLED", True]
    main(command("--opts", "SEED", SKY, "VERSION", -1, *side, "--opts", "MODEL.WEIGHTS", "other.pth"))
    assert [cfg.SEED for cfg in configs] == [ROAD, SKY] and [cfg.VERSION for cfg in configs] == [-1, -1]
    assert [cfg.TEST.AUG.ENABLED for cfg in configs] == [False, True]
    assert [Path(cfg.MODEL.WEIGHTS).name for cfg in configs] == ["before.pth", "after.pth"]


def test_models_are_those_of_the_last_stage(command, configs):
    main(command("--opts", "SOLVER.STAGES", "['second']", "STAGES.second.SEED", SKY))
    assert [cfg.SEED for cfg in configs] == [SKY, SKY]


def test_label_maps_are_read_from_either_output():
    logits = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])
    assert compare_models.semantic_labels({"sem_seg": logits}).tolist() == [[0, 1]]
    assert compare_models.semantic_labels({"sem_seg_labels": torch.tensor([[0, 1]])}).tolist() == [[0, 1]]


def test_average_precision_is_compared(command, tmp_path, capsys):
    """Both semantic maps and instances; the images of the sheets are predicted again, but count once."""
    main(command("--top", 1, "--names", "FPN", "PSP"))
    assert (tmp_path / "out" / "changes.csv").exists()
    changes = json.loads((tmp_path / "out" / "average_precision.json").read_text())
    assert changes.keys() == {"bbox", "segm"}
    assert changes["segm"]["AP"].keys() == {"before", "after", "gain", "low", "high"}
    assert 0 <= changes["segm"]["AP"]["before"] < 5  # random weights
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h1>Comparison of FPN and PSP</h1>" in page and "PSP − FPN, 95 % interval" in page
    summary, header, _, *rows = capsys.readouterr().out.splitlines()
    assert summary.startswith("2 of 2 images: ")
    assert header.split()[:2] == ["FPN", "PSP"] and rows[0].startswith("box AP ")


def test_detectors_are_compared(command, tmp_path, capsys):
    boxes = ["MODEL.MASK_ON", False]
    main(command("--opts", *DETECTOR, "--after-opts", *boxes))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["average_precision.json", "report.html"]
    assert json.loads((tmp_path / "out" / "average_precision.json").read_text()).keys() == {"bbox"}
    assert "box AP" in capsys.readouterr().out


def test_three_models_are_compared(command, tmp_path, capsys):
    config = str(tmp_path / "config.yaml")
    third = ("--after", config, tmp_path / "before.pth", "--names", "A", "B", "C", "--opts", *DETECTOR)
    main(command(*third))
    headers = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if "95 % interval" in line]
    assert headers == [["A", "B"], ["A", "C"]]
    # The third model is the first one again.
    changes = json.loads((tmp_path / "out" / "average_precision.json").read_text())
    assert changes["segm"]["AP"]["gain"] == 0
    assert "B − A, 95 % interval" in (tmp_path / "out" / "report.html").read_text()


def test_overrides_belong_to_their_model(command):
    again = ("--after", "c.yaml", "w.pth", "--after-opts", "SEED", 1, "--after-opts", "SEED", 2)
    assert parse_args(command(*again)).after_opts == [["SEED", "1"], ["SEED", "2"]]
    assert parse_args(command(*again[:3])).after_opts == [[], []]
    assert parse_args(command(*again[3:])).after_opts == [["SEED", "1", "SEED", "2"]]


def test_models_without_a_task_in_common_are_refused(command):
    with pytest.raises(SystemExit, match=r"ConfigError: --before, --after: nothing to compare: .* sem_seg and bbox"):
        main(command("--before-opts", *SEMANTIC_ONLY, "--after-opts", *DETECTOR))


def test_models_with_other_classes_are_refused(command):
    name = "unified_test_two_classes"
    DatasetCatalog.register(name, lambda: [])
    MetadataCatalog.get(name).set(stuff_classes=["sky", "road"], ignore_label=255)
    try:
        with pytest.raises(SystemExit, match=rf"ConfigError: --after .*'{name}'"):
            main(command("--after-opts", "DATASETS.TRAIN", f"('{name}',)"))
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_errors_are_one_line(command, tmp_path):
    with pytest.raises(SystemExit, match=r"ConfigError: --before .*'no_such_set'"):
        main(command(dataset="no_such_set"))
    with pytest.raises(SystemExit, match=r"ConfigError: --after .*config\.yaml: command line: unknown config key"):
        main(command("--after-opts", "NO.SUCH.KEY", 1))
    with pytest.raises(SystemExit, match=r"CheckpointError: weights .*absent\.pth: there is no such file"):
        main(command(after="absent.pth"))
    (tmp_path / "out").touch()
    with pytest.raises(SystemExit, match=r"DataError: --output: .*out"):
        main(command())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--top", "0"),
        ("--names", "one"),
        ("--names", "one", "two", "three"),
        ("--names", "one", "one"),
        ("--names", "one", "change"),
        ("--after-opts", "SEED", "1", "--after", "c.yaml", "w.pth"),
    ],
)
def test_wrong_arguments_are_refused(command, arguments, capsys):
    with pytest.raises(SystemExit):
        parse_args(command(*arguments))
    assert arguments[0] in capsys.readouterr().err
