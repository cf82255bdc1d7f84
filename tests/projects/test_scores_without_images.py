"""The script that scores published runs on some of the test images."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = "fusion_scheme/cropweed"


@pytest.fixture(scope="module")
def script(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(ROOT / "projects/scores_without_images.py")


def test_all_images_have_the_published_scores(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    script.main([PROJECT, "--images", "28"])
    headers, _, *lines = (line.strip("|").split("|") for line in capsys.readouterr().out.splitlines())
    found = [dict(zip((h.strip() for h in headers), (cell.strip() for cell in line))) for line in lines]
    published = json.loads((ROOT / "projects" / PROJECT / "results.json").read_text())["rows"]
    assert [line["row"] for line in found] == [row["name"] for row in published]
    for line, row in zip(found, published):
        for caption, metric in (("mIoU", "miou"), ("mask AP", "ap"), ("PQ", "pq")):
            mean = sum(row[metric]) / len(row["seeds"])
            assert float(line[caption]) == pytest.approx(mean, abs=0.006)
            assert line[f"{caption} without 28"] != line[caption]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([PROJECT, "--images", "028"], "unified_cropweed_test has no image 028"),
        (["pspnet", "--images", "1"], "no finished"),
    ],
)
def test_unknown_image_and_project_without_runs_are_errors(script: ModuleType, words: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        script.main(words)
