"""The page of a data set report: its text and pictures, and that names of files and classes stay text."""

import base64
import re
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from PIL import Image

from unified_seg.data.problems import Problem
from unified_seg.data.validation.dataset_statistics import ImageContents, compute_statistics
from unified_seg.data.validation.survey import Survey, survey_datasets
from unified_seg.html_reports.dataset.findings import describe_verdict
from unified_seg.html_reports.dataset.pictures import read_sound_ground_truth
from unified_seg.html_reports.dataset.plots import draw_statistics
from unified_seg.html_reports.dataset.report import write_report
from unified_seg.html_reports.dataset.samples import NUM_SAMPLES, select_problem_samples, select_sound_samples
from unified_seg.html_reports.page import MAX_WIDTH
from unified_seg.structures.class_table import ClassTable, SegmentClass

NAME = "drawn_yard"
SCRIPT = "<script>alert(1)</script> $x$"
SIZE = (8, 12)
GRASS, HEN = 0, 1  # semantic ids
HENS = (slice(2, 5), slice(3, 7))


@pytest.fixture
def records(tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """Five images whose names are scripts, with a hen on grass each; registered as NAME."""
    records = []
    for index in range(5):
        folder = tmp_path / f"{index} <script>"
        folder.mkdir()
        image, label = folder / "image $x$.png", folder / "label.png"
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(image)
        labels = np.zeros(SIZE, dtype=np.uint8)
        labels[HENS] = HEN
        Image.fromarray(labels).save(label)
        size = {"height": SIZE[0], "width": SIZE[1]}
        records.append({"file_name": str(image), "image_id": index, **size, "sem_seg_file_name": str(label)})
    classes = [
        SegmentClass(SCRIPT, GRASS, None, 0, "grass", (0, 160, 0)),
        SegmentClass("hen \x1b[31m", HEN, 0, 1, "animal", (200, 100, 0)),
    ]
    DatasetCatalog.register(NAME, lambda: records)
    MetadataCatalog.get(NAME).set(**ClassTable(classes).to_metadata())
    yield records
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


class Page(HTMLParser):
    """The tags, sources of pictures and text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.verdicts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.tags.append(tag)
        self.sources += [values["src"] or ""] if "src" in values else []
        assert tag == "a" or "href" not in values
        assert not any(name.startswith("on") for name in values)
        if (values.get("class") or "").startswith("verdict"):
            self.verdicts.append(values["class"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def write_page(folder: Path) -> tuple[Page, Survey]:
    (survey,) = survey_datasets([NAME], workers=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of the control character
        write_report(folder / "out/index.html", [survey])
    assert [file.name for file in (folder / "out").iterdir()] == ["index.html"]
    return Page((folder / "out/index.html").read_text(encoding="utf-8")), survey


def test_sound_data_set_has_plots_and_pictures(records: list[dict[str, Any]], tmp_path: Path) -> None:
    page, _ = write_page(tmp_path)
    assert page.verdicts == ["verdict good"] and "no problem in 5 images" in page.text
    # Names of classes and files are text.
    assert page.tags.count("script") == 1 and "link" not in page.tags
    assert SCRIPT in page.text and "0 <script>/image $x$.png" in page.text
    assert all(source.startswith("data:image/") for source in page.sources)
    # Three plots, since there are no instances, and the first, middle and last image.
    assert [source.partition(";")[0].removeprefix("data:image/") for source in page.sources] == [
        *["svg+xml"] * 3,
        *["jpeg"] * 3,
    ]
    picture = Image.open(BytesIO(base64.b64decode(page.sources[-1].partition(",")[2])))
    assert picture.width <= MAX_WIDTH


def test_problems_are_listed_and_drawn(records: list[dict[str, Any]], tmp_path: Path) -> None:
    Image.new("L", SIZE[::-1], 77).save(records[1]["sem_seg_file_name"])
    Path(records[2]["file_name"]).unlink()
    page, survey = write_page(tmp_path)
    assert page.verdicts == ["verdict error"] and "2 errors in 5 images" in page.text
    text = re.sub(r"\s+", " ", page.text)
    for problem in survey.problems:
        assert problem.file in text and problem.cause in text and problem.fix in text
    # The wrong label is drawn, the missing image is not; and three of the others.
    assert sum(source.startswith("data:image/jpeg") for source in page.sources) == 1 + 3


def test_samples_are_the_first_problems_and_sound_records(records: list[dict[str, Any]]) -> None:
    for record in records[:4]:
        Image.new("L", SIZE[::-1], 77).save(record["sem_seg_file_name"])
    Path(records[0]["file_name"]).write_text("none")
    (survey,) = survey_datasets([NAME], workers=0)
    samples = select_problem_samples([survey])
    assert NUM_SAMPLES == 3 and list(samples) == ["label-id"]
    assert [sample.record["image_id"] for sample in samples["label-id"]] == [1, 2, 3]
    assert [sample.record["image_id"] for sample in select_sound_samples(survey)] == [4]


def test_errors_of_a_ground_truth_are_left_out(records: list[dict[str, Any]], tmp_path: Path) -> None:
    table = ClassTable.from_metadata(MetadataCatalog.get(NAME))
    labels = np.zeros(SIZE, dtype=np.uint8)
    labels[0] = 77
    Image.fromarray(labels).save(records[0]["sem_seg_file_name"])
    ids = np.full((*SIZE, 3), 0, dtype=np.uint8)
    ids[..., 0] = 1 + (np.arange(SIZE[1]) >= 4)
    Image.fromarray(ids).save(tmp_path / "panoptic.png")
    box = {"category_id": 0, "bbox": [3, 2, 4, 3], "bbox_mode": BoxMode.XYWH_ABS}
    mask = [3, 2, 7, 2, 7, 5, 3, 5]
    record = {
        **records[0],
        "pan_seg_file_name": str(tmp_path / "panoptic.png"),
        "segments_info": [
            {"id": 1, "category_id": GRASS, "isthing": False},
            {"id": 2, "category_id": 9, "isthing": True},
        ],
        "annotations": [{**box, "segmentation": [mask]}, {**box, "segmentation": [[1, 1, 2, 2]]}],
    }
    ground_truth = read_sound_ground_truth(record, table)
    expected = np.zeros(SIZE)
    expected[0] = 255
    assert np.array_equal(ground_truth["sem_seg_labels"], expected)
    assert ground_truth["panoptic_seg"][1] == [record["segments_info"][0]]
    (window,) = ground_truth["instances"].pred_boxes.tensor.tolist()
    assert window == [3, 2, 7, 5]
    # A label of another size than the image is left out, the rest is kept.
    Image.new("L", (5, 5)).save(record["sem_seg_file_name"])
    assert read_sound_ground_truth(record, table).keys() == {"panoptic_seg", "instances"}


def test_plots_are_valid_xml_with_unchanged_names(tiny_dataset: Any) -> None:
    table = ClassTable([SegmentClass(SCRIPT + " \x1b \ud800", 0, None, 0, "a", (1, 2, 3))])
    plots = draw_statistics(compute_statistics([ImageContents((8, 12), {0: 90}, None)], table))
    assert list(plots) == ["Class frequencies", "Image sizes", "Instances and classes per image"]
    for svg in plots.values():
        root = ElementTree.fromstring(svg)
        assert not [node for node in root.iter() if node.tag.endswith("}script")]
    texts = "".join(ElementTree.fromstring(plots["Class frequencies"]).itertext())
    assert SCRIPT + r" \x1b \ud800" in texts
    (survey,) = survey_datasets([tiny_dataset.train], workers=0)
    plots = draw_statistics(survey.statistics)
    assert list(plots)[2] == "Sides of instances" and plots == draw_statistics(survey.statistics)


def test_empty_data_set_has_no_plots() -> None:
    table = ClassTable([SegmentClass("a", 0, None, 0, "a", (1, 2, 3))])
    assert draw_statistics(compute_statistics([], table)) == {}


@pytest.mark.parametrize(
    ("kinds", "verdict"),
    [
        ([], "no problem in 1 image"),
        (["area"], "1 warning in 1 image"),
        (["area", "size", "size"], "2 errors and 1 warning in 1 image"),
    ],
)
def test_verdict_counts_errors_warnings_and_images(kinds: list[str], verdict: str) -> None:
    table = ClassTable([SegmentClass("a", 0, None, 0, "a", (1, 2, 3))])
    problems = [Problem(kind, "a.png", "it is wrong") for kind in kinds]
    assert describe_verdict([Survey("a", [{}], problems, compute_statistics([], table))]) == verdict
