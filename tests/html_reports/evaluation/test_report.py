"""The page of an evaluation: what it shows of one model and of several, as a parser and as a browser read it."""

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_streets import CAR_A, SIZE, WALKER, Scene, Streets, draw_street, noisy_output, perfect_output, run
from headless_browser import Browser, find_browser, start_browser
from PIL import Image

from unified_seg.evaluation.instances import InstanceEvaluator
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.html_reports.evaluation.files import read_evaluation
from unified_seg.html_reports.evaluation.report import EvaluatedDataset, write_report

NAMES = [f"street <b>{i}</b>" for i in range(12)]
PANOPTIC = (SemanticEvaluator, InstanceEvaluator, PanopticEvaluator)


class Page(HTMLParser):
    """The text, ids, links, sources of pictures and rows of tables of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.text = ""
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.alternatives: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attributes}
        self.tags.append(tag)
        self.text += " " if tag in ("td", "th", "li") else ""
        for key, found in (("id", self.ids), ("href", self.links), ("src", self.sources), ("alt", self.alternatives)):
            found += [values[key]] if key in values else []
        assert not any(name.startswith("on") for name in values)

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["script"], ["style"]):
            self.text += data


def evaluate(streets: Streets, scenes: Sequence[Scene], kinds: Sequence[type], seed: int, noise: int) -> Any:
    """Return an evaluation of a model whose first outputs are noisy, and these outputs by image id."""
    rng = np.random.default_rng(seed)
    records = streets.records
    outputs = [(noisy_output(s, rng) if i < noise else {}) for i, s in enumerate(scenes)]
    outputs = [perfect_output(scene) | output for scene, output in zip(scenes, outputs)]
    for output in outputs[:noise]:
        output["sem_seg"][:, :20, : int(rng.integers(1, 60))] = 0  # the first class, road, in place of sky
    folder = streets.folder / f"out {seed}"
    tasks: dict[str, dict[str, float]] = {}
    for kind in kinds:
        tasks |= run(kind(streets.table, records, folder), records, outputs)
    by_id = {record["image_id"]: output for record, output in zip(records, outputs)}
    return read_evaluation(f"model {seed} <i> $x", tasks, folder), by_id


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Streets, list[Scene]]:
    """Twelve streets with images."""
    streets = Streets(tmp_path_factory.mktemp("streets"))
    scenes = [draw_street() if i % 2 else draw_street(things=(CAR_A, WALKER)) for i in range(len(NAMES))]
    for name, scene in zip(NAMES, scenes):
        record = streets.add(name.replace("/", "%"), scene)
        pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(record["file_name"])
    return streets, scenes


def write(drawn: tuple[Streets, list[Scene]], kinds: Sequence[type], seeds: Sequence[int], file: Path) -> Page:
    streets, scenes = drawn
    pairs = [evaluate(streets, scenes, kinds, seed, noise=8) for seed in seeds]

    def predict(records: Sequence[dict[str, Any]]) -> Iterator[Sequence[Any]]:
        for record in records:
            yield [outputs[record["image_id"]] for _, outputs in pairs]

    models = [model for model, _ in pairs]
    write_report(file, "Evaluation", "w", [EvaluatedDataset("set", streets.records, streets.table, models, predict)])
    return Page(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report(drawn: tuple[Streets, list[Scene]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    write(drawn, PANOPTIC, [1], file)
    return file


def test_page_is_complete_in_itself(report: Path) -> None:
    page = Page(report.read_text(encoding="utf-8"))
    assert all(source.startswith("data:image/") for source in page.sources)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids)) and all(page.alternatives)
    assert page.tags.count("script") == 1 and not {"b", "i", "link", "iframe", "form"} & set(page.tags)
    # Names are text, not tags.
    assert "street <b>3<%b>.png" in page.text or "street <b>3<" in page.text
    assert report.stat().st_size < 3_000_000


def test_page_shows_scores_errors_and_images(report: Path) -> None:
    page = Page(report.read_text(encoding="utf-8"))
    for words in (
        "panoptic quality",
        "Worst images",
        "Median images",
        "Best images",
        "Confusions of pixels",
        "AP50 lost",
    ):
        assert words in page.text, words
    # Nine images with four pictures each, the confusion matrix, and five plots.
    kinds = [source.partition(";")[0].removeprefix("data:image/") for source in page.sources]
    assert kinds.count("jpeg") == 9 * 4 and kinds.count("svg+xml") == 1 + 5
    assert any(text.startswith("Calibration of the semantic map") for text in page.alternatives)
    # The best images are perfect.
    assert page.text.count("PQ 100.00 %") == 3 and page.text.count("no error") == 3


@pytest.mark.parametrize(
    ("kinds", "main", "pictures"),
    [((SemanticEvaluator,), "mIoU", 4), ((InstanceEvaluator,), "F1 of objects", 4)],
)
def test_parts_of_a_model_are_enough(
    drawn: tuple[Streets, list[Scene]], tmp_path: Path, kinds: Sequence[type], main: str, pictures: int
) -> None:
    page = write(drawn, kinds, [1], tmp_path / "report.html")
    assert f"{main} 100.00 %" in page.text and "Worst images" in page.text
    assert ("Confusions of pixels" in page.text) == (main == "mIoU")


def test_models_are_side_by_side_with_intervals(drawn: tuple[Streets, list[Scene]], tmp_path: Path) -> None:
    page = write(drawn, PANOPTIC, [1, 2, 1], tmp_path / "report.html")
    assert "model 2 <i> $x − model 1 <i> $x, 95 % interval" in page.text
    (row,) = re.findall(r"PQ (?:\d+\.\d\d ){3}(.*?) panoptic quality", page.text)
    # The third model is the first one.
    assert re.fullmatch(r"[+-]\d+\.\d\d \(.* to .*\) \+0\.00 \(\+0\.00 to \+0\.00\)", row.strip()), row
    assert "Largest" not in page.text  # from the first to the last nothing changes


@pytest.mark.end_to_end
@pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")
class TestInBrowser:
    """What only a browser can tell."""

    @pytest.fixture(scope="class")
    def browser(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
        with start_browser(tmp_path_factory.mktemp("profile")) as browser:
            yield browser

    @pytest.mark.parametrize("width", [390, 1280])
    def test_page_fits_and_loads_nothing(self, browser: Browser, report: Path, width: int) -> None:
        browser.requests.clear()
        browser.open(report, width)
        assert [url for url in browser.requests if not url.startswith("data:")] == [report.as_uri()]
        assert browser.problems == []
        # Nothing but the frames of wide tables is wider than the window.
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("[...document.images].every(i => i.naturalWidth > 0 || i.loading == 'lazy')")

    def test_tables_are_sorted_and_filtered_by_keyboard(self, browser: Browser, report: Path) -> None:
        browser.open(report, 1280)
        browser.run("window.table = document.querySelector('#set-1-images ~ .scroll table'); 0")
        names = "[...table.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[1].dataset.value)"
        before = [float(value) for value in browser.run(names)]
        assert before == sorted(before)
        browser.run("table.tHead.rows[0].cells[1].firstChild.focus()")
        browser.press("Enter", 13)
        assert [float(value) for value in browser.run(names)] == before[::-1]
        assert browser.run("table.tHead.rows[0].cells[1].getAttribute('aria-sort')") == "descending"
        browser.run(
            "field = document.querySelector('#set-1-images ~ .filter input'); field.value = 'B>1';"
            "field.dispatchEvent(new Event('input')); 0"
        )
        assert len(browser.run(names)) == 3  # 1, 10 and 11

    def test_links_lead_to_the_worst_images(self, browser: Browser, report: Path) -> None:
        browser.open(report, 1280)
        browser.run("document.querySelector('.findings a').click()")
        top = browser.run("document.querySelector(location.hash).getBoundingClientRect().top")
        assert abs(top) < 2
