"""The Toyscapes data of an ablation: generated if absent, refused if they are others."""

import msgspec
import pytest

from toyscapes import VERSION
from unified_seg.data.datasets import TOYSCAPES_VARIANTS
from unified_seg.reporting.ablation.toyscapes_data import ToyscapesSpec, prepare_toyscapes
from unified_seg.reporting.errors import ReportingError

SPEC = ToyscapesSpec(preset="demo", size="64x128", train=0, heldout=0, val=1, seed=0, version=VERSION)


def change(**values) -> ToyscapesSpec:
    return msgspec.structs.replace(SPEC, **values)


def test_data_are_generated_once_and_others_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "somewhere")
    prepare_toyscapes(SPEC, tmp_path)
    (image,) = (tmp_path / "somewhere" / "toyscapes_demo" / "leftImg8bit").rglob("*.png")
    written = image.stat().st_mtime_ns
    prepare_toyscapes(SPEC, tmp_path)
    assert image.stat().st_mtime_ns == written
    with pytest.raises(ReportingError, match=r"ablation\.yaml: toyscapes: .*seed 0\b"):
        prepare_toyscapes(change(seed=1), tmp_path)
    assert image.exists()


def test_other_version_of_the_generator_is_an_error(tmp_path):
    with pytest.raises(ReportingError, match=f"toyscapes.version is 'old', the generator's is '{VERSION}'"):
        prepare_toyscapes(change(version="old"), tmp_path)


def test_folders_are_those_of_the_registered_data_sets():
    sizes = [("standard", "128x256"), ("demo", "128x256"), ("standard", "256x512"), ("standard", "512x1024")]
    names = [change(preset=preset, size=size).locate().name for preset, size in sizes]
    assert names == [f"toyscapes{variant}" for variant in TOYSCAPES_VARIANTS]
