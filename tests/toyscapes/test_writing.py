"""Generated folders: the layout of Cityscapes, independent of workers, resumable, never mixed."""

import hashlib
import json

import numpy as np
import pytest
from cityscapesscripts.preparation import createPanopticImgs
from PIL import Image

from toyscapes import VERSION, generate, make_scene, render_scene, writing
from toyscapes.labels import make_label_maps
from toyscapes.statistics import compute_class_shares

COUNTS = {"train": 6, "heldout": 2, "val": 3}
SIZE = (64, 128)


def make(folder, **changes):
    arguments = {"preset": "standard", "counts": COUNTS, "size": SIZE, "workers": 1, "progress": False}
    return generate(folder, **(arguments | changes))


def contents(folder, split=None):
    """Return the digest of every file by relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (split is None or f"/{split}/" in str(path))
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("data") / "toyscapes")


@pytest.fixture
def own_folder(tmp_path):
    return make(tmp_path / "toyscapes", counts={"val": 2})


def test_files_have_the_layout_of_cityscapes(folder):
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*000001*") if "/val" in str(path))
    stem = "tannwald_000001_000019"
    assert [name for name in names if stem in name] == [
        *(
            f"gtFine/val/tannwald/{stem}_gtFine_{suffix}"
            for suffix in ("instanceIds.png", "labelIds.png", "labelTrainIds.png", "polygons.json")
        ),
        f"leftImg8bit/val/tannwald/{stem}_leftImg8bit.png",
    ]
    assert json.loads((folder / "toyscapes.json").read_text()) == {
        "preset": "standard", "version": VERSION, "size": "64x128", "seed": 0, **COUNTS,
    }  # fmt: skip
    assert not list(folder.rglob("*.part")) and not (folder / writing.UNFINISHED).exists()


def test_files_equal_the_rendered_scene(folder):
    image, polygons = render_scene(make_scene("standard", 0, "val", 2), SIZE)
    stem = "val/tannwald/tannwald_000002_000019"
    np.testing.assert_array_equal(Image.open(folder / f"leftImg8bit/{stem}_leftImg8bit.png"), image)
    assert json.loads((folder / f"gtFine/{stem}_gtFine_polygons.json").read_text()) == polygons
    maps = make_label_maps(polygons)
    for suffix, expected in (
        ("labelIds", maps.label_ids), ("labelTrainIds", maps.train_ids), ("instanceIds", maps.instance_ids),
    ):  # fmt: skip
        np.testing.assert_array_equal(Image.open(folder / f"gtFine/{stem}_gtFine_{suffix}.png"), expected)


def test_panoptic_files_equal_cityscapes_scripts(folder, tmp_path):
    splits = list(COUNTS)
    # With a path, convert2panoptic reads the splits directly below it.
    createPanopticImgs.convert2panoptic(str(folder / "gtFine"), str(tmp_path), setNames=splits)
    for split in splits:
        name = f"cityscapes_panoptic_{split}"
        generated, official = (
            json.loads((root / f"{name}.json").read_text()) for root in (folder / "gtFine", tmp_path)
        )
        assert generated == official
        paths = sorted((tmp_path / name).glob("*.png"))
        assert len(paths) == COUNTS[split]
        for path in paths:
            np.testing.assert_array_equal(Image.open(folder / "gtFine" / name / path.name), Image.open(path))


def test_images_do_not_depend_on_workers_or_counts(folder, tmp_path):
    parallel = make(tmp_path / "parallel", workers=2, counts={"train": 9, "val": 1})
    serial, more = contents(folder, "train"), contents(parallel, "train")
    assert len(serial) == 5 * 6 and len(more) == 5 * 9
    assert serial.items() <= more.items()
    assert contents(parallel, "val").items() <= contents(folder, "val").items()


def test_second_run_changes_nothing(folder, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(writing, "_write_image", None)
    make(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_missing_files_are_generated_again(own_folder):
    before = contents(own_folder)
    for path in [*own_folder.rglob("*000000*labelIds.png"), *own_folder.rglob("cityscapes_panoptic_val.json")]:
        path.unlink()
    make(own_folder, counts={"val": 2})
    assert contents(own_folder) == before


def test_interrupted_run_is_incomplete_until_completed(tmp_path, monkeypatch):
    write = writing._write_image

    def fail_at_second(job):
        if job.index == 1:
            raise KeyboardInterrupt
        return write(job)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writing, "_write_image", fail_at_second)
        make(tmp_path, counts={"val": 3})
    assert not (tmp_path / "toyscapes.json").exists()
    with pytest.raises(FileExistsError, match="seed 0, not 1"):
        make(tmp_path, counts={"val": 3}, seed=1)
    make(tmp_path, counts={"val": 3})
    assert len(list(tmp_path.rglob("*_leftImg8bit.png"))) == 3
    assert (tmp_path / "toyscapes.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"preset": "demo"}, "preset standard, not demo"),
        ({"size": (128, 256)}, "size 64x128, not 128x256"),
        ({"counts": {"val": 3}}, "train 6, not 0"),
    ],
)
def test_other_arguments_raise_an_error(folder, change, message):
    before = contents(folder)
    with pytest.raises(FileExistsError, match=message):
        make(folder, **change)
    assert contents(folder) == before


def test_overwrite_replaces_the_data_set(own_folder):
    make(own_folder, counts={"train": 1}, seed=4, overwrite=True)
    assert json.loads((own_folder / "toyscapes.json").read_text())["seed"] == 4
    assert [path.parent.parent.name for path in own_folder.rglob("*_leftImg8bit.png")] == ["train"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_other_origin_are_never_replaced(tmp_path, overwrite):
    real = tmp_path / "leftImg8bit" / "train" / "aachen" / "aachen_000000_000019_leftImg8bit.png"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="leftImg8bit: not generated"):
        make(tmp_path, overwrite=overwrite)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [real]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "hard"}, "unknown preset 'hard'"),
        ({"counts": {"val": -1}}, "counts: the number of val images"),
        ({"counts": {"test": 1}}, "counts: unknown split test"),
        ({"size": (32, 64)}, "integers of at least 64"),
        ({"workers": 0}, "workers must be at least 1"),
    ],
)
def test_invalid_arguments_create_no_folder(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "new", **change)
    assert not (tmp_path / "new").exists()


def test_class_shares_equal_counts_of_label_files(folder):
    shares = {share.name: share for share in compute_class_shares(folder, "val")}
    assert sum(share.pixels for share in shares.values()) == pytest.approx(1.0)
    ids = [np.asarray(Image.open(path)) for path in folder.glob("gtFine/val/*/*instanceIds.png")]
    assert shares["car"].instances == sum(len(np.unique(i[i // 1000 == 26])) for i in ids)
    assert shares["road"].pixels == pytest.approx(np.mean([i == 7 for i in ids]))
    assert shares["road"].instances == 0


def test_labels_of_other_formats_and_damaged_manifests_are_named(tmp_path):
    make(tmp_path / "d", counts={"train": 1})
    (label,) = (tmp_path / "d").rglob("*_gtFine_instanceIds.png")
    label.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # Pillow would start Ghostscript
    (tmp_path / "d" / writing.MANIFEST).rename(tmp_path / "d" / writing.UNFINISHED)
    with pytest.raises(ValueError, match=r"instanceIds\.png: not a readable PNG"):
        make(tmp_path / "d", counts={"train": 1})
    for content in ("[1]", "{", "3"):
        (tmp_path / "d" / writing.UNFINISHED).write_text(content)
        with pytest.raises(FileExistsError, match=r"toyscapes\.unfinished\.json"):
            make(tmp_path / "d", counts={"train": 1})


def test_nothing_is_written_or_deleted_through_links(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious.png").touch()
    make(tmp_path / "d", counts={"train": 1})
    writing.delete_tree(tmp_path / "d" / "leftImg8bit")
    (tmp_path / "d" / "leftImg8bit").symlink_to(elsewhere)
    make(tmp_path / "d", counts={"train": 2}, overwrite=True)
    assert [path.name for path in elsewhere.rglob("*")] == ["precious.png"]
    assert not (tmp_path / "d" / "leftImg8bit").is_symlink()
