"""unified-seg: each tool is a command, with the options of its script."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from unified_seg_cli import train_net
from unified_seg_cli.main import COMMANDS, describe_commands, main

ROOT = Path(__file__).parents[2]
# They work on the files of the repository.
OF_REPOSITORY = {"ablate"}


def test_each_module_of_commands_has_a_name() -> None:
    modules = {path.stem for path in (ROOT / "unified_seg_cli/commands").glob("[!_]*.py")}
    assert {f"commands.{name}" for name in modules - OF_REPOSITORY} <= {each.module for each in COMMANDS.values()}


def test_each_script_runs_the_same_code_as_its_command() -> None:
    scripts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tools").glob("*.py")}
    run = {
        found[1] for text in scripts.values() if (found := re.search(r"from unified_seg_cli\.(\S+) import main", text))
    }
    assert {each.module for each in COMMANDS.values()} - run == {"set_up"}


def test_list_has_a_line_for_each_command() -> None:
    listed = re.findall(r"^  ([a-z-]+) +[A-Z].*\.$", describe_commands(), flags=re.MULTILINE)
    assert listed == list(COMMANDS)


def test_command_gets_its_options_and_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(train_net, "main", lambda: train_net.parse_args(None))
    main(["train", "--config-file", "c.yaml"])
    assert sys.argv == ["unified-seg train", "--config-file", "c.yaml"]
    main(["eval", "--config-file", "c.yaml", "SEED", "1"])
    assert sys.argv == ["unified-seg eval", "--eval-only", "--config-file", "c.yaml", "SEED", "1"]


@pytest.mark.parametrize(("words", "message"), [(["trian"], "did you mean train?"), (["xyz"], "known are setup")])
def test_unknown_command_is_named(words: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        main(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_the_command(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(SystemExit):
        main([name, "--help"])
    printed = capsys.readouterr().out
    assert f"usage: unified-seg {name}" in printed and "python tools/" not in printed


def test_module_is_the_same_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_module("unified_seg_cli", run_name="__main__")
    assert capsys.readouterr().out.startswith("usage: unified-seg COMMAND")
