import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from PIL import Image


def test_the_official_numbers(load_script: Callable[[Path], Any]) -> None:
    # Cordts et al., The Cityscapes Dataset, CVPR 2016, section 2.3; the download's 5,000 fine annotations.
    module = load_script(Path(__file__).parents[2] / "datasets/prepare_cityscapes.py")
    assert module.IMAGES == {"train": 2975, "val": 500, "test": 1525}


def test_the_files_are_those_of_cityscapes_scripts(prepared: Callable[..., Any], tmp_path: Path) -> None:
    data = prepared("cityscapes")
    data.run()
    ground_truth = data.root / "gtFine"
    for polygons in ground_truth.glob("*/*/*_polygons.json"):
        json2labelImg(str(polygons), str(tmp_path / "ids.png"), "trainIds")
        made = polygons.with_name(polygons.name.replace("polygons.json", "labelTrainIds.png"))
        assert np.array_equal(np.array(Image.open(made)), np.array(Image.open(tmp_path / "ids.png")))
    (tmp_path / "all").mkdir()
    convert2panoptic(str(ground_truth), str(tmp_path / "all"), setNames=["train", "val"])
    for file in (tmp_path / "all").rglob("*"):
        made = ground_truth / file.relative_to(tmp_path / "all")
        if file.suffix == ".png":
            assert made.read_bytes() == file.read_bytes()
        elif file.suffix == ".json":
            assert json.loads(made.read_text()) == json.loads(file.read_text())
    assert len(list(ground_truth.glob("cityscapes_panoptic_*/*.png"))) == 3
    assert not list(ground_truth.glob(".*"))


def test_an_interrupted_conversion_continues(prepared: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared("cityscapes")
    convert, done = data.module.convert_image, []

    def killed(job: Any) -> None:
        if done:
            raise KeyboardInterrupt
        convert(job)
        done.append(job.png)

    monkeypatch.setattr(data.module, "convert_image", killed)
    with pytest.raises(SystemExit, match="interrupted"):
        data.run()
    assert not list(data.root.glob("gtFine/*.json"))
    before = data.files()
    monkeypatch.setattr(data.module, "convert_image", lambda job: done.append(job.png) or convert(job))
    data.run()
    assert len(done) == len(set(done)) == 3
    after = data.files()
    assert all(after[file] == before[file] for file in before if file.endswith(".png"))
    assert len(json.loads((data.root / "gtFine/cityscapes_panoptic_train.json").read_text())["annotations"]) == 2


def test_missing_cityscapes_scripts_are_named(prepared: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cityscapesscripts", None)
    with pytest.raises(SystemExit, match="pip install cityscapesscripts"):
        prepared("cityscapes").run()


@pytest.mark.parametrize(
    ("ending", "content", "message"),
    [
        ("polygons.json", b'{"imgHeight": 64', "not polygons of Cityscapes: JSONDecodeError"),
        (
            "polygons.json",
            b'{"imgHeight": 64, "imgWidth": 96, "objects": [{"label": "dragon", "polygon": [[0, 0], [9, 0], [9, 9]]}]}',
            "not polygons of Cityscapes: SystemExit",
        ),
        ("polygons.json", b'{"imgHeight": 9, "imgWidth": 9, "objects": []}', "9x9 pixels, its image has 64x96"),
        ("instanceIds.png", b"\x89PNG\r\n", "not a readable image"),
    ],
)
def test_a_wrong_label_is_named(ending: str, content: bytes, message: str, prepared: Callable[..., Any]) -> None:
    data = prepared("cityscapes")
    data.run()
    for made in [*data.root.glob("gtFine/*/*/*labelTrainIds.png"), *data.root.glob("gtFine/*panoptic*/*.png")]:
        made.unlink()
    for archive in data.download.archives:
        (data.root / archive).unlink()
    file = sorted(data.root.glob(f"gtFine/train/*/*{ending}"))[1]
    file.write_bytes(content)
    with pytest.raises(SystemExit, match=rf"^\w*Error: {file}: .*{message}"):
        data.run()


def test_images_alone_are_part_of_the_data_set(prepared: Callable[..., Any]) -> None:
    data = prepared("cityscapes")
    (data.root / "gtFine_trainvaltest.zip").unlink()
    data.run("--allow-subset")
    assert len(list(data.root.glob("leftImg8bit/*/*/*.png"))) == 4 and not (data.root / "gtFine").exists()
