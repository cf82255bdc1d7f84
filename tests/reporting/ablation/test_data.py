"""The data of an ablation: made where there are none, refused where they are others."""

from dataclasses import replace

import pytest

from toyscapes import VERSION
from unified_seg.data.datasets import TOYSCAPES_VARIANTS
from unified_seg.reporting.ablation.data import ToyscapesSpec, prepare_toyscapes

SPEC = ToyscapesSpec(preset="demo", size="64x128", train=0, heldout=0, val=1, seed=0, version=VERSION)


def test_made_once_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "somewhere")
    prepare_toyscapes(SPEC, tmp_path)
    (picture,) = (tmp_path / "somewhere" / "toyscapes_demo" / "leftImg8bit").rglob("*.png")
    made = picture.stat().st_mtime_ns
    prepare_toyscapes(SPEC, tmp_path)
    assert picture.stat().st_mtime_ns == made
    with pytest.raises(ValueError, match=r"the data of the ablation: .*seed 0\b"):
        prepare_toyscapes(replace(SPEC, seed=1), tmp_path)
    assert picture.exists()


def test_another_version_of_the_generator(tmp_path):
    with pytest.raises(ValueError, match=f"Toyscapes version of-old, this is version {VERSION}"):
        prepare_toyscapes(replace(SPEC, version="of-old"), tmp_path)


def test_folders_are_those_of_the_registered_data_sets():
    sizes = [("standard", "128x256"), ("demo", "128x256"), ("standard", "256x512"), ("standard", "512x1024")]
    names = [replace(SPEC, preset=preset, size=size).folder().name for preset, size in sizes]
    assert names == [f"toyscapes{variant}" for variant in TOYSCAPES_VARIANTS]
