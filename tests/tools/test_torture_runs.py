"""The campaigns of tools/torture.py that interrupt trainings, with small counts, in forks of one server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from campaigns.campaign import run_campaign
from campaigns.runs import comparison, kills, resumes, served
from campaigns.runs.fork_server import ForkServer

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module", autouse=True)
def _one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    server = ForkServer("campaigns.runs.tiny_run", tmp_path_factory.mktemp("shared"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForkServer, "stop", lambda self: None)
        patch.setattr(served, "ForkServer", lambda module, folder: server)
        yield
    server.stop()


def test_killed_trainings_go_on(tmp_path: Path) -> None:
    outcome = run_campaign(kills.Kills(), 2, 1, tmp_path)
    assert outcome.failures == [] and outcome.counts.get("while saving", 0) + outcome.counts.get("between saves", 0) > 0


def test_killed_stages_go_on(tmp_path: Path) -> None:
    outcome = run_campaign(kills.StagedKills(), 1, 1, tmp_path)
    assert outcome.failures == [] and outcome.tried == 1


def test_stopped_trainings_go_on_exactly(tmp_path: Path) -> None:
    outcome = run_campaign(resumes.Resumes(), 1, 3, tmp_path)
    assert outcome.failures == [] and outcome.tried == 1


def test_what_was_lost_is_found(tmp_path: Path) -> None:
    lines = ['{"stage": "last", "start": 0}', *(f'{{"stage": "last", "iteration": {i}}}' for i in range(5))]
    for start, expected in ((2, None), (1, "went back from 5 iterations to 1")):
        text = "\n".join([*lines, f'{{"stage": "last", "start": {start}}}'])
        (tmp_path / "events.jsonl").write_text(text)
        found = comparison.describe_loss(tmp_path)
        assert found == expected or (expected or "?") in (found or "")
