"""projects/label_less: the loop of labeling at a tiny scale, with the real tools in this process."""

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from detectron2.config import CfgNode

from unified_seg.data.coco.categories import to_coco_categories
from unified_seg.data.datasets.cityscapes import build_cityscapes_table
from unified_seg.training.run import run as run_train_net
from unified_seg_cli.commands.rank_by_error import main as run_rank_by_error

LOOP = Path(__file__).parents[2] / "projects" / "label_less" / "loop.py"


@pytest.fixture(scope="module")
def loop(load_script: Any) -> ModuleType:
    return load_script(LOOP)


@pytest.fixture
def streets(tiny_dataset: Any, tmp_path: Path) -> Path:
    """The hand-drawn streets, with the categories that the JSON of Toyscapes has."""
    root = tmp_path / "streets"
    shutil.copytree(tiny_dataset.root, root)
    file = root / "gtFine/cityscapes_panoptic_train.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "categories": to_coco_categories(build_cityscapes_table().classes)}))
    return root


@pytest.mark.end_to_end
@pytest.mark.usefixtures("forget_datasets")
def test_the_loop_labels_and_trains(
    loop: ModuleType, streets: Path, tiny_config: CfgNode, tiny_dataset: Any, tmp_path: Path, capsys: Any
) -> None:
    tiny_config.SOLVER.MAX_ITER = 1
    tiny_config.MODEL.PROPOSAL_GENERATOR.NAME = tiny_config.MODEL.ROI_HEADS.NAME = ""
    tiny_config.MODEL.PANOPTIC_FUSION.NAME, tiny_config.MODEL.MASK_ON = "", False
    (tmp_path / "config.yaml").write_text(tiny_config.dump())
    (tmp_path / "README.md").write_text("<!-- label_less:begin -->\n<!-- label_less:end -->\n")
    words = ["--config-file", tmp_path / "config.yaml", "--output", tmp_path / "out", "--data", streets]
    words += ["--test", tiny_dataset.val, "--start", 1, "--pool", 3, "--add", 1, "--rounds", 1, "--seeds", 1]
    args = loop.parse_args([str(word) for word in [*words, "--into", tmp_path / "README.md"]])
    called: list[str] = []

    def run_tool(name: str, arguments: list[str]) -> None:
        called.append(name)
        {"train_net": run_train_net, "rank_by_error": run_rank_by_error}[name](arguments)

    loop.run(args, run_tool)
    assert called == ["train_net", "rank_by_error", "train_net", "train_net"]
    summary = json.loads((tmp_path / "out/curve.json").read_text())
    assert summary["labeled"] == [1, 2] and summary["gain"][0] == {"mean": 0, "standard_error": None}
    scores = summary["scores"]
    assert scores["ranked"][0][0] == scores["random"][0][0] and len(scores["random"][0]) == 2
    labeled = {
        name: {
            image["id"] for image in json.loads((tmp_path / f"out/seed_0/{name}/labeled.json").read_text())["images"]
        }
        for name in ("start", "ranked_1", "random_1")
    }
    assert labeled["start"] < labeled["ranked_1"] and labeled["start"] < labeled["random_1"]
    assert {len(images) for images in labeled.values()} == {1, 2}
    assert (tmp_path / "out/curve.png").is_file() and "| labeled images" in (tmp_path / "README.md").read_text()
    # The second time everything is there.
    loop.run(args, run_tool)
    assert len(called) == 4
    # As if it had ended before its evaluation.
    (tmp_path / "out/seed_0/random_1/inference/results.json").unlink()
    loop.run(args, run_tool)
    assert called[4:] == ["train_net"]
    assert json.loads((tmp_path / "out/curve.json").read_text())["scores"] == scores


def test_the_gain_has_a_standard_error(loop: ModuleType, tmp_path: Path) -> None:
    args = loop.parse_args(["--config-file", "c.yaml", "--output", str(tmp_path), "--rounds", "1", "--seeds", "2"])
    scores = [{"ranked": [50.0, 60.0], "random": [50.0, 58.0]}, {"ranked": [40.0, 56.0], "random": [40.0, 50.0]}]
    summary = loop.summarize(args, scores)
    assert summary["labeled"] == [50, 100]
    assert summary["gain"][1] == {"mean": 4, "standard_error": pytest.approx(2)}
    assert "| 100              | 58.00" in loop.format_table(summary)


def test_more_images_than_there_are_is_an_error(loop: ModuleType, streets: Path, tmp_path: Path) -> None:
    words = ["--config-file", "c.yaml", "--output", str(tmp_path), "--data", str(streets)]
    with pytest.raises(ValueError, match="4 images, --start and --pool need 550"):
        loop.run(loop.parse_args(words))
    with pytest.raises(ValueError, match="--pool 5"):
        loop.run(loop.parse_args([*words, "--pool", "5"]))
