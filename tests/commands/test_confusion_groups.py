"""tools/confusion_groups.py, on what the real evaluator writes and on files written by hand."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from unified_seg.commands import confusion_groups
from unified_seg.config import load_config
from unified_seg.data.io.label_files import read_label
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.structures.class_table import ClassTable
from unified_seg_cli.commands.confusion_groups import main, parse_args, parse_source

pytestmark = pytest.mark.end_to_end

NAMES = ("road", "sidewalk", "sky $", "car", "truck")
# Percent: sidewalk for road 20, car and truck for each other 10 and 30; the sky was never seen.
MATRIX = np.array([
    [100, 0, 0, 0, 0],
    [20, 80, 0, 0, 0],
    [0, 0, 0, 0, 0],
    [1, 0, 0, 89, 10],
    [0, 0, 0, 30, 70],
])  # fmt: skip


def write(folder: Path, matrix: np.ndarray = MATRIX, names: tuple[str, ...] = NAMES) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "sem_seg.npz", confusion=matrix, class_names=np.array(names))
    return str(folder / "sem_seg.npz")


def groups_in(file: Path) -> list[list[str]]:
    return json.loads(file.read_text())["MODEL"]["SEM_SEG_HEAD"]["CONFUSION_GROUPS"]["GROUPS"]


def test_a_config_reads_the_groups_of_an_evaluation(tiny_dataset, tmp_path, capsys) -> None:
    """Half of each car is taken for a truck, a quarter of each person for a rider."""
    records = DatasetCatalog.get(tiny_dataset.val)
    table = ClassTable.from_metadata(MetadataCatalog.get(tiny_dataset.val))
    ids = {name: table.semantic_names.index(name) for name in ("car", "truck", "person", "rider")}
    evaluator = SemanticEvaluator(table, records, tmp_path / "inference")
    evaluator.reset()
    for record in records:
        ground_truth = read_label(record["sem_seg_file_name"])
        labels = np.where(ground_truth == table.ignore_label, 0, ground_truth).astype(np.int64)
        for true, predicted, of in (("car", "truck", 2), ("person", "rider", 4)):
            places = np.flatnonzero(ground_truth == ids[true])
            labels.flat[places[: len(places) // of]] = ids[predicted]
        evaluator.process([record], [{"sem_seg_labels": torch.from_numpy(labels)}])
    evaluator.evaluate()

    output = tmp_path / "made" / "groups.json"
    main([str(tmp_path / "inference" / "sem_seg.npz"), "--output", str(output)])
    assert groups_in(output) == [["car", "truck"], ["person", "rider"]]
    printed = capsys.readouterr().out
    assert "car, truck" in printed and "car → truck, 50.0 %" in printed and "person → rider, 25.0 %" in printed

    config = tmp_path / "config.yaml"
    config.write_text("_BASE_: [made/groups.json]\nMODEL: {SEM_SEG_HEAD: {CONFUSION_GROUPS: {RULE: product}}}\n")
    groups = load_config(config).MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS
    assert (groups.GROUPS, groups.RULE) == ([["car", "truck"], ["person", "rider"]], "product")
    # 19 cells of 30 pixels, and names.
    width, height = Image.open(output.with_suffix(".png")).size
    assert 570 < width < 900 and 570 < height < 800
    assert {path.name for path in output.parent.iterdir()} == {"groups.json", "groups.png"}


def test_bounds_limit_the_groups(tmp_path, capsys) -> None:
    source, output = write(tmp_path / "run"), tmp_path / "groups.json"
    for options, groups in (
        ([], [["car", "truck"], ["road", "sidewalk"]]),
        (["--max-groups", "1"], [["car", "truck"]]),
        (["--min-rate", "0.15"], [["car", "truck"]]),
        # (1 + 0) / 2 % of the cars are taken for road, which joins the two.
        (["--min-rate", "0.004"], [["road", "sidewalk", "car", "truck"]]),
        (["--min-rate", "0.004", "--max-size", "3"], [["car", "truck"], ["road", "sidewalk"]]),
    ):
        main([source, "--output", str(output), *options])
        assert groups_in(output) == groups
        rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()[2:-1]]
        assert [row[0] for row in rows] == [", ".join(group) for group in groups]
    # Inside are 10 + 30 points, and 20.
    assert [(row[-2].strip(), row[-1]) for row in rows] == [
        ("40.0", "truck → car, 30.0 %"),
        ("20.0", "sidewalk → road, 20.0 %"),
    ]


@pytest.mark.parametrize(
    ("matrix", "limits"),
    [("toyscapes/heldout_confusion.npz", ["--max-groups", "4"]), ("camvid/val_confusion.npz", [])],
)
def test_published_groups_follow_from_their_matrix(matrix, limits, tmp_path) -> None:
    source = Path(__file__).parents[2] / "projects/confusion_groups" / matrix
    made = tmp_path / "groups.json"
    main([str(source), "--output", str(made), "--max-size", "4", *limits])
    assert made.read_text() == source.with_name("groups.json").read_text()


def test_the_picture_shows_the_evaluations_after_after(tmp_path, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(
        confusion_groups, "draw_confusions", lambda *arguments: drawn.append(arguments) or np.zeros((2, 3, 3), "u1")
    )
    after = [write(tmp_path / name / "inference", np.eye(5) * 7) for name in ("subnets", "both")]
    source, picture = write(tmp_path / "base" / "inference"), tmp_path / "drawn" / "matrix.png"
    main(
        [
            source,
            "--output",
            str(tmp_path / "g.json"),
            "--picture",
            str(picture),
            "--after",
            after[0],
            f"all={after[1]}",
        ]
    )
    ((matrices, names, groups),) = drawn
    assert [title for _, title in matrices] == ["base", "subnets", "all"]
    assert matrices[0][0][1].tolist() == [0.2, 0.8, 0, 0, 0] and (matrices[2][0] == np.eye(5)).all()
    assert tuple(names) == NAMES and groups == [(3, 4), (0, 1)]
    assert Image.open(picture).size == (3, 2) and not (tmp_path / "g.png").exists()


@pytest.mark.parametrize(
    ("paths", "titles"),
    [
        (["run/inference/sem_seg.npz"], ["run/inference/sem_seg.npz"]),
        (["out/a/inference/sem_seg.npz", "out/b/inference/sem_seg.npz"], ["a", "b"]),
        (["out/a/1/sem_seg.npz", "out/b/2/sem_seg.npz", "out/b/1/sem_seg.npz"], ["a/1", "b/2", "b/1"]),
        (["out/sem_seg.npz", "out/sem_seg_unfused.npz"], ["sem_seg.npz", "sem_seg_unfused.npz"]),
        # Of the first one nothing is left.
        (["out/sem_seg.npz", "out/a/sem_seg.npz"], ["out/sem_seg.npz", "a"]),
        (["before=out/a/sem_seg.npz", "out/b/sem_seg.npz"], ["before", "b"]),
        (["first=x=1/sem_seg.npz", "out/sem_seg.npz"], ["first", "out"]),
    ],
)
def test_default_titles_are_the_different_parts_of_paths(paths, titles) -> None:
    assert confusion_groups.choose_titles([parse_source(path) for path in paths]) == titles


def test_a_file_name_may_contain_an_equals_sign(tmp_path) -> None:
    path = write(tmp_path / "lr=0.1")
    assert parse_source(path) == (Path(path), "")
    assert parse_source(f"a={path}") == (Path(path), "a")


def test_no_group_writes_nothing(tmp_path) -> None:
    command = [write(tmp_path / "run"), "--output", str(tmp_path / "groups.json"), "--min-rate", "0.3"]
    with pytest.raises(SystemExit, match=r"run/sem_seg\.npz: no pair .* --min-rate 0\.3 .*the highest is 0\.2;") as end:
        main(command)
    assert isinstance(end.value.code, str)  # the interpreter prints it and ends with status 1
    two = write(tmp_path / "two", np.array([[5, 5], [5, 5]]), NAMES[:2])
    with pytest.raises(SystemExit, match=r"two/sem_seg\.npz: there are only two classes"):
        main([two, *command[1:3]])
    assert {path.name for path in tmp_path.iterdir()} == {"run", "two"}


@pytest.mark.filterwarnings("ignore:Glyph")  # the picture's font has no car
def test_names_in_any_script_are_read_back(tmp_path) -> None:
    # The first is beyond 16 bits; Yaml would read the pair by which JSON escapes it as two letters.
    names = ("\U0001f697", "Straße", "sky", "car", "no: 1")
    main([write(tmp_path / "run", names=names), "--output", str(tmp_path / "groups.json"), "--min-rate", "0.004"])
    (tmp_path / "config.yaml").write_text("_BASE_: groups.json")
    groups = load_config(tmp_path / "config.yaml").MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.GROUPS
    assert groups == groups_in(tmp_path / "groups.json") == [["\U0001f697", "Straße", "car", "no: 1"]]


def test_a_group_with_an_ambiguous_name_is_refused(tmp_path) -> None:
    output = tmp_path / "groups.json"
    source = write(tmp_path / "run", names=("road", "sidewalk", "car", "car", "truck"))
    with pytest.raises(SystemExit, match=r"DataError: .*run/sem_seg\.npz: .*'car'"):
        main([source, "--output", str(output)])
    assert not output.exists()
    # Outside the groups it harms nobody.
    source = write(tmp_path / "run", names=("road", "road", "sky", "car", "truck"))
    main([source, "--output", str(output), "--max-groups", "1"])
    assert groups_in(output) == [["car", "truck"]]


def test_files_without_a_matrix_of_the_classes_are_refused(tmp_path) -> None:
    good, output = write(tmp_path / "run"), str(tmp_path / "groups.json")
    text = tmp_path / "text.npz"
    text.write_text("none")
    partly = MATRIX.astype(float)
    partly[1, 1] = np.nan
    cases = [
        ([str(tmp_path / "absent.npz")], r"absent\.npz: no such file"),
        ([str(text)], r"text\.npz: .*confusion"),
        ([write(tmp_path / "partly", partly)], r"partly/sem_seg\.npz: row 1 .*NaN"),
        ([write(tmp_path / "minus", -MATRIX)], r"minus/sem_seg\.npz: .*got -"),
        ([write(tmp_path / "none", 0 * MATRIX)], r"none/sem_seg\.npz: .*no pixel"),
        ([good, "--after", good, write(tmp_path / "few", MATRIX[:3, :3], NAMES[:3])], r"few/sem_seg\.npz: class_names"),
        ([good, "--after", write(tmp_path / "other", names=NAMES[::-1])], r"other/sem_seg\.npz: class_names .*'truck'"),
        ([good, "--after", str(tmp_path / "absent.npz")], r"absent\.npz: no such file"),
    ]
    for arguments, message in cases:
        with pytest.raises(SystemExit, match=f"DataError: .*{message}"):
            main([*arguments, "--output", output])
    assert not Path(output).exists() and not Path(output).with_suffix(".png").exists()


def test_an_unwritable_output_is_one_line(tmp_path) -> None:
    source, file = write(tmp_path / "run"), tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit, match=r"(NotADirectory|FileExists)Error: .*file"):
        main([source, "--output", str(file / "groups.json")])
    assert {path.name for path in tmp_path.iterdir()} == {"run", "file"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-size", "1"], "--max-size"),
        (["--max-groups", "0"], "--max-groups"),
        (["--min-rate", "0"], "--min-rate"),
        (["--min-rate", "nan"], "--min-rate"),
        (["--picture", "picture.jpg"], "must end in .png"),
        (["--picture", "groups.json"], "must end in .png"),
        (["--output", "."], "argument --output"),
        (["--output", os.devnull], os.devnull),
        (["--picture", "~"], str(Path.home())),
        (["--output", "groups.png"], "groups.png is named twice"),
        (["--output", "a/../sem_seg.npz"], "sem_seg.npz is named twice"),
        (["--after", "other.png", "--picture", "other.png"], "other.png is named twice"),
    ],
)
def test_wrong_arguments_are_refused(options, message, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        parse_args(["sem_seg.npz", "--output", "groups.json", *options])
    assert end.value.code == 2 and message in capsys.readouterr().err
