"""tools/export.py."""

from pathlib import Path

import pytest
from detectron2.config import CfgNode
from tiny_predictors import make_panoptic, write_weights

from unified_seg.export import command
from unified_seg.export.graphs import SUFFIXES
from unified_seg.export.precision import PRECISIONS
from unified_seg_cli import export
from unified_seg_runtime import read_description


def test_options_are_those_of_the_library() -> None:
    assert list(export.FORMATS) == list(SUFFIXES) and export.PRECISIONS == PRECISIONS


@pytest.mark.end_to_end
def test_weights_are_exported_with_scenes(
    tiny_config: CfgNode, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SCENES", 1)
    weights = write_weights(make_panoptic(tiny_config), tmp_path)
    output = tmp_path / "exported"
    words = ["--weights", str(weights), "--output", str(output), "--format", "torchscript", "--size", "64x128"]
    export.main([*words, "MODEL.PANOPTIC_FUSION.NAME", "EvidenceFusion"])
    form = read_description(output)
    assert form.fusion == "EvidenceFusion" and form.size == (64, 128)
    assert "labels 0, missing 0" in capsys.readouterr().out


def test_wrong_size_is_one_line(tiny_config: CfgNode, tmp_path: Path) -> None:
    weights = write_weights(make_panoptic(tiny_config), tmp_path)
    with pytest.raises(SystemExit, match="UnsupportedExportError: --size 65x128"):
        export.main(["--weights", str(weights), "--output", str(tmp_path / "exported"), "--size", "65x128"])
