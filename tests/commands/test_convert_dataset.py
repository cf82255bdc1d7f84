"""tools/convert_dataset.py: what each command writes and prints; tests/data/conversion has the conversions by hand."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unified_seg.data.datasets.custom import CustomDataset
from unified_seg.data.io.label_files import read_label, read_panoptic_ids
from unified_seg.data.validation.checks import check_record
from unified_seg_cli.commands.convert_dataset import main

pytestmark = pytest.mark.end_to_end

SIZE = (6, 8)
WATER, REED, DUCK = (0, 0, 200), (0, 150, 0), (90, 60, 30)
LEGEND = """
- {name: water, color: [0, 0, 200], id: 4}
- {name: reed, color: [0, 150, 0], id: 6}
- {name: duck, color: [90, 60, 30], id: 9, isthing: 1}
"""
# A duck of labelme's, rows 2 and 3, columns 1 to 3; the picture has it one column farther, and a black corner.
DRAWN = {"label": "duck", "shape_type": "rectangle", "points": [[1, 2], [4, 4]], "group_id": None}
IDS = np.array([
    [6, 6, 6, 6, 6, 6, 6, 255],
    [4, 4, 4, 4, 4, 4, 4, 4],
    [4, 9, 9, 9, 9, 4, 4, 4],
    [4, 9, 9, 9, 9, 4, 4, 4],
    [4, 4, 4, 4, 4, 4, 4, 4],
    [4, 4, 4, 4, 4, 4, 4, 4],
])  # fmt: skip


@pytest.fixture
def pond(tmp_path: Path) -> Path:
    """Five images with color pictures and labelme files."""
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[[4, 6, 9]] = [WATER, REED, DUCK]
    for folder in ("images", "colors"):
        (tmp_path / folder).mkdir()
    for index in range(5):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / f"images/{index}.jpg")
        Image.fromarray(colors[IDS]).save(tmp_path / f"colors/{index}.png")
        content = {"shapes": [DRAWN], "imagePath": f"{index}.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
        (tmp_path / f"images/{index}.json").write_text(json.dumps(content))
    (tmp_path / "legend.yaml").write_text(LEGEND)
    return tmp_path


def run(folder: Path, text: str) -> None:
    """A command line whose paths are below the folder."""
    main([str(folder / word[1:]) if word.startswith("@") else word for word in text.split()])


COLORS = "colors --input @colors --legend @legend.yaml --output @ids"
LABELME = "labelme --input @images --output @instances.json --classes @ids/classes.yaml"
PANOPTIC = "panoptic --instances @instances.json --semantic @ids --classes @ids/classes.yaml --images @images"
ALL = (f"{COLORS} --unknown 255", LABELME, f"{PANOPTIC} --output @out")


def test_color_images_and_labelme_files_become_a_panoptic_data_set(
    pond: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ALL:
        run(pond, f"{command} --workers 1")
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"5 label maps and classes.yaml: {pond}/ids",
        f"5 pixels (2.1%) with a color that is not in the legend became 255, in 5 files, first {pond}/colors/0.png",
        f"5 images, 5 instances of 1 classes: {pond}/instances.json",
        f"5 images, 15 segments: {pond}/out/panoptic.json",
        "10 pixels (4.2%) of thing classes without an instance are void",
    ]
    assert read_label(pond / "ids/3.png").tolist() == IDS.tolist()
    # The duck is segment 1; of 1 instance and the semantic ids 0 and 1, water is 2 and reed 3.
    expected = np.select([IDS == 4, IDS == 6, IDS == 9], [2, 3, 1], 0)
    expected[2:4, 4] = 0
    assert read_panoptic_ids(pond / "out/panoptic/3.png").tolist() == expected.tolist()
    entry = {"NAME": "p", "IMAGES": "images", "PANOPTIC": "out/panoptic.json", "SEMANTIC": "ids"}
    dataset = CustomDataset.from_entry({**entry, "INSTANCES": "instances.json", "CLASSES": "ids/classes.yaml"}, pond)
    records = dataset.load()
    for record in records:
        check_record(record, dataset.read_table())
    assert len(records) == 5 and len(records[0]["annotations"]) == 1


def test_several_processes_write_the_same(pond: Path) -> None:
    written = []
    for workers in (2, 1):
        for command in ALL:
            run(pond, f"{command} --workers {workers}")
        outputs = [pond / "instances.json", *(pond / "ids").rglob("*"), *(pond / "out").rglob("*")]
        written.append({f: hashlib.sha256(f.read_bytes()).hexdigest() for f in outputs if f.is_file()})
    assert written[0] == written[1] and len(written[0]) == 1 + 6 + 6


def test_instances_that_are_left_out_are_counted(pond: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((pond / "images/0.json").read_text())
    content["shapes"].append({**DRAWN, "points": [[-4, 0], [-1, 3]]})
    (pond / "images/0.json").write_text(json.dumps(content))
    run(pond, LABELME.split(" --classes")[0])
    assert "1 instances without a pixel in their image were left out" in capsys.readouterr().out
    run(pond, ALL[0])
    hidden = json.loads((pond / "instances.json").read_text())
    hidden["annotations"].append({**hidden["annotations"][0], "id": 99})
    hidden["categories"][0]["id"] = 9
    for annotation in hidden["annotations"]:
        annotation["category_id"] = 9
    (pond / "instances.json").write_text(json.dumps(hidden))
    run(pond, ALL[2])
    assert "1 instances without a visible pixel were left out" in capsys.readouterr().out


def test_instances_overlap_in_the_chosen_order(pond: Path) -> None:
    run(pond, ALL[0])
    run(pond, LABELME)
    content = json.loads((pond / "instances.json").read_text())
    small = {**content["annotations"][0], "id": 99, "segmentation": [[1, 2, 2, 2, 2, 3, 1, 3]]}
    content["annotations"].insert(0, small)
    (pond / "instances.json").write_text(json.dumps(content))
    areas = {}
    for order in ("area", "file"):
        run(pond, f"{ALL[2]} --order {order}")
        segments = json.loads((pond / "out/panoptic.json").read_text())["annotations"][0]["segments_info"]
        areas[order] = [s["area"] for s in segments if s["category_id"] == 9]
    assert areas == {"area": [1, 5], "file": [6]}


def test_void_and_tolerance_are_used(pond: Path) -> None:
    (pond / "legend.txt").write_text("1 0 199 water\n0 150 0 reed\n90 60 30 duck\n0 0 0 Void\n")
    run(pond, "colors --input @colors --legend @legend.txt --output @ids --void Void --tolerance 1")
    expected: Any = np.select([IDS == 4, IDS == 6, IDS == 9], [0, 1, 2], 255)
    assert read_label(pond / "ids/0.png").tolist() == expected.tolist()


def test_errors_are_one_line(pond: Path) -> None:
    with pytest.raises(SystemExit) as error:
        run(pond, COLORS)
    assert str(error.value) == (
        f"DataError: {pond}/colors/0.png: the color (0, 0, 0) is not in the legend: 1 pixels, first at row 0, column "
        "7; `--unknown 255` makes such pixels void"
    )
    (pond / "out").touch()
    run(pond, ALL[0])
    run(pond, LABELME)
    with pytest.raises(SystemExit, match=r"^(NotADirectoryError|FileExistsError): .*out"):
        run(pond, ALL[2])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--workers -1", "argument --workers: "),
        ("--tolerance -1", "argument --tolerance: "),
        ("--unknown 256", "argument --unknown: "),
    ],
)
def test_wrong_arguments_are_refused(pond: Path, capsys: pytest.CaptureFixture[str], more: str, message: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(pond, f"{COLORS} {more}")
    assert message in capsys.readouterr().err
