"""Names of this project's configs, from any folder."""

from pathlib import Path

import pytest

from unified_seg.config import ConfigError, load_config, locate_config
from unified_seg.config.locate import ROOT, suggest_config

BASE = ROOT / "configs/base/unified_fpn.yaml"


@pytest.mark.parametrize(
    "name",
    [
        "unified_seg://base/unified_fpn.yaml",
        "unified_seg://configs/base/unified_fpn.yaml",
        "configs/base/unified_fpn.yaml",
    ],
)
def test_configs_of_this_project_are_found_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate_config(name) == BASE
    (tmp_path / "mine.yaml").write_text(f"_BASE_: {name}\nSEED: 3")
    cfg = load_config("mine.yaml")
    assert (cfg.MODEL.META_ARCHITECTURE, cfg.SEED) == ("UnifiedSegmentor", 3)


def test_configs_of_projects_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = ROOT / "projects/pspnet/configs/toyscapes_psp.yaml"
    assert locate_config("projects/pspnet/configs/toyscapes_psp.yaml") == expected
    assert locate_config("unified_seg://projects/pspnet/configs/toyscapes_psp.yaml") == expected


def test_file_of_the_user_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "configs/base/unified_fpn.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("SEED: 5")
    monkeypatch.chdir(tmp_path)
    assert load_config("configs/base/unified_fpn.yaml").SEED == 5
    assert locate_config("unified_seg://base/unified_fpn.yaml") == BASE
    assert locate_config("configs/base/unified_fpn.yaml", tmp_path) == own


@pytest.mark.parametrize("name", ["unified_seg://base/unified_fnp.yaml", "configs/base/unified_fnp.yaml"])
def test_wrong_name_is_an_error_with_a_hint(name: str, tmp_path: Path) -> None:
    hint = "did you mean `unified_seg://base/unified_fpn.yaml`"
    with pytest.raises(ConfigError, match=f"{name}.*{hint}"):
        load_config(name)
    (tmp_path / "x.yaml").write_text(f"_BASE_: {name}")
    with pytest.raises(ConfigError, match=f"{name}.*{hint}"):
        load_config(tmp_path / "x.yaml")
    assert suggest_config("configs/what/else.yaml") == ""


def test_name_may_not_leave_this_project(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"_BASE_: unified_seg://{'../' * 20}etc/passwd")
    with pytest.raises(ConfigError, match="points outside"):
        load_config(tmp_path / "x.yaml")
