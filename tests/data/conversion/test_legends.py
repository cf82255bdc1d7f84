"""Legends in each format."""

import json
from pathlib import Path

import pytest

from unified_seg.data.conversion.legends import read_legend
from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import SegmentClass

SKY = SegmentClass("sky", 0, None, 0, "sky", (70, 130, 180))
CAR = SegmentClass("toy car", 1, None, 1, "toy car", (0, 0, 142))

FORMS = {
    "camvid.txt": "# of a street\n70 130 180\tsky\n\n 0\t0 142   toy car\n",
    "cvat.txt": "# label:color_rgb:parts:actions\nsky:70,130,180::\ntoy car:0,0,142::\n",
    "legend.csv": "name,r,g,b\nsky,70,130,180\ntoy car,0,0,142\n",
    "turned.csv": "\ufeffR, G, B, Name\r\n70, 130, 180, sky\r\n0, 0, 142, toy car\r\n",
    "list.yaml": "- {name: sky, color: [70, 130, 180]}\n- {name: toy car, color: [0, 0, 142]}\n",
    "key.yml": "categories: [{name: sky, color: [70, 130, 180]}, {name: toy car, color: [0, 0, 142]}]\n",
    "legend.json": json.dumps([{"name": "sky", "color": [70, 130, 180]}, {"name": "toy car", "color": [0, 0, 142]}]),
}


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("name", FORMS)
def test_all_formats_give_the_same_legend(tmp_path: Path, name: str) -> None:
    legend = read_legend(write(tmp_path, name, FORMS[name]))
    assert legend.classes == (SKY, CAR)
    assert legend.values == {(70, 130, 180): 0, (0, 0, 142): 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "x.yaml",
            "- {name: sky, color: [1, 1, 1], id: 5}\n"
            "- {name: car, color: [2, 2, 2], id: 3, isthing: 1, supercategory: vehicle}\n",
        ),
        ("x.csv", "id,name,r,g,b,isthing,supercategory\n5,sky,1,1,1,,\n3,car,2,2,2,1,vehicle\n"),
    ],
)
def test_ids_and_things_are_read(tmp_path: Path, name: str, text: str) -> None:
    sky, car = read_legend(write(tmp_path, name, text)).classes
    assert (sky.dataset_id, sky.is_thing, car.dataset_id, car.is_thing) == (5, False, 3, True)
    assert read_legend(tmp_path / name).values == {(1, 1, 1): 5, (2, 2, 2): 3}


def test_void_classes_do_not_count_in_ids(tmp_path: Path) -> None:
    path = write(tmp_path, "l.txt", "0 0 0 Void\n1 1 1 sky\n224 224 192 border\n2 2 2 car\n")
    legend = read_legend(path, void=["border", "Void"])
    assert [(c.name, c.dataset_id) for c in legend.classes] == [("sky", 0), ("car", 1)]
    assert legend.values == {(0, 0, 0): 255, (1, 1, 1): 0, (224, 224, 192): 255, (2, 2, 2): 1}


BAD = {
    "suffix": ("l.xml", "", r"l\.xml: a legend must be a file of type \.txt, \.csv"),
    "bytes": ("l.txt", b"\xff\xfe", r"l\.txt: not readable as text"),
    "empty": ("l.txt", "# nothing\n", r"l\.txt: a class table needs at least one class"),
    "a line": ("l.txt", "0 0 0 sky\n1 2 car\n", r"l\.txt: line 2: must be .*, got '1 2 car'"),
    "too bright": ("l.txt", "0 0 0 sky\n0 0 256 car\n", r"l\.txt: record 1: color must be .* \[0, 0, 256\]"),
    "one color": ("l.txt", "1 2 3 sky\n1 2 3 car\n", r"l\.txt: sky and car both have the color \(1, 2, 3\)"),
    "one name": ("l.txt", "1 2 3 sky\n1 2 4 sky\n", r"l\.txt: two classes have the name sky"),
    "no columns": ("l.csv", "sky,1,2,3\n", r"l\.csv: the first line of a CSV legend must name the columns"),
    "no number": ("l.csv", "name,r,g,b\nsky,1,2,x\n", r"l\.csv: line 2: b must be int, got 'x'"),
    "short row": ("l.csv", "name,r,g,b\nsky,1,2\n", r"l\.csv: line 2: b must be int, got None"),
    "no YAML": ("l.yaml", "- {", r"l\.yaml: not readable as plain YAML"),
    "code": ("l.yaml", "!!python/object/apply:os.getcwd []", r"l\.yaml: not readable as plain YAML"),
    "no list": ("l.yaml", "sky: blue", r"l\.yaml: expected a list of legend records"),
    "no color": ("l.yaml", "- {name: sky}", r"l\.yaml: 'sky' has no color"),
    "a color's name": ("l.yaml", "- {name: sky, color: blue}", r"l\.yaml: record 0: color must be"),
    "no name": ("l.yaml", "- {color: [0, 0, 0]}", r"l\.yaml: record 0: name is missing"),
    "void's id": ("l.yaml", "- {name: sky, color: [0, 0, 0], id: 255}", r"id of sky must be in \[0, 254\] .*, got 255"),
    "an id twice": (
        "l.yaml",
        "[{name: a, color: [0, 0, 0], id: 1}, {name: b, color: [0, 0, 1], id: 1}]",
        r"l\.yaml: dataset ids must be unique",
    ),
    "many": ("l.txt", "".join(f"0 {i // 256} {i % 256} c{i}\n" for i in range(256)), r"l\.txt: "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_wrong_legends_are_named(tmp_path: Path, name: str) -> None:
    file, content, message = BAD[name]
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        read_legend(tmp_path / file)


def test_void_classes_may_have_numbers_for_names(tmp_path: Path) -> None:
    text = "- {name: 0, color: [0, 0, 0]}\n- {name: sky, color: [70, 130, 180]}\n"
    legend = read_legend(write(tmp_path, "l.yaml", text), ["0"])
    assert legend.classes == (SKY,) and legend.values == {(0, 0, 0): 255, (70, 130, 180): 0}


def test_absent_files_and_unknown_void_names_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"l\.txt: there is no such file"):
        read_legend(tmp_path / "l.txt")
    path = write(tmp_path, "l.txt", "0 0 0 sky\n")
    with pytest.raises(DataError, match=r"l\.txt: no class has the name Void, which should be void"):
        read_legend(path, void=["Void"])
