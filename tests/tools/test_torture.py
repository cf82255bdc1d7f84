"""The campaigns of tools/torture.py with small counts: nothing fails, and what is wrong is found."""

import importlib.util
import json
from pathlib import Path

import pytest
from campaigns import command
from campaigns.campaign import Campaign, Outcome, run_campaign, write_report
from campaigns.concurrency import Concurrency
from campaigns.full_disk import WRITERS, FullDisk
from campaigns.hostile import PAYLOADS
from campaigns.payloads import Payloads
from campaigns.runs.damaged_checkpoints import KINDS, Flips, Truncations
from campaigns.watched_process import WatchedProcess

ROOT = Path(__file__).parents[2]


@pytest.mark.end_to_end
def test_payloads_of_every_kind_do_nothing(tmp_path: Path) -> None:
    outcome = run_campaign(Payloads(), 2 * len(PAYLOADS), 0, tmp_path)
    assert outcome.failures == [] and set(outcome.counts) == set(PAYLOADS)


@pytest.mark.end_to_end
def test_no_reader_sees_half_a_file(tmp_path: Path) -> None:
    outcome = run_campaign(Concurrency(), 6, 0, tmp_path)
    assert outcome.failures == [] and outcome.tried == 6


def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    outcome = run_campaign(FullDisk(), len(WRITERS), 0, tmp_path)
    assert outcome.failures == [] and set(outcome.counts) == set(WRITERS)


@pytest.mark.parametrize("campaign", [Flips, Truncations])
def test_damaged_checkpoints_are_found(campaign: type[Campaign], tmp_path: Path, forget_datasets: None) -> None:
    outcome = run_campaign(campaign(), 2 * len(KINDS), 0, tmp_path)
    assert outcome.failures == [] and set(outcome.counts) == set(KINDS)


@pytest.mark.end_to_end
def test_a_watched_process_tells_what_is_wrong(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").touch()
    expected = {
        "open_outside": "opens ",
        "start_process": "os.system",
        "raise_bug": "KeyError",
        "take_memory": "MemoryError",
        "end_process": "exit code 3",
        "behave": "",
    }
    process = WatchedProcess("misbehave")
    try:
        found = {name: process.call(name, tmp_path, outside, str(outside / "secret")) for name in expected}
    finally:
        process.stop()
    assert found["behave"] is None
    assert {name: part in (found[name] or "") for name, part in expected.items()} == dict.fromkeys(expected, True)


def test_a_report_keeps_the_campaigns_that_did_not_run(tmp_path: Path) -> None:
    path = tmp_path / "robustness.json"
    write_report(path, [Outcome("a", 3, ["x"], {"k": 3}), Outcome("b", 2)], {"a": "it holds"}, "a machine")
    write_report(path, [Outcome("a", 5)], {"a": "it holds"}, "a machine")
    found = [(each["campaign"], each["tried"], each["failed"]) for each in json.loads(path.read_text())]
    assert found == [("a", 5, 0), ("b", 2, 0)]
    assert "| a          | it holds" in path.with_suffix(".md").read_text()


def test_the_tool_reads_counts_and_refuses_others(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("torture", ROOT / "tools" / "torture.py")
    assert spec is not None and spec.loader is not None
    torture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(torture)
    assert torture.parse_args(["payloads=3"]).counts == {"payloads": 3}
    for word in ("payloads=0", "payloads=x", "payloads"):
        with pytest.raises(SystemExit):
            torture.parse_args([word])
    with pytest.raises(command.UserError, match="unknown campaign"):
        command.run(torture.parse_args(["other=3"]))
