"""Run campaigns and write their report."""

import argparse
import tempfile
from pathlib import Path

from campaigns.campaign import Campaign, run_campaign, write_report
from campaigns.concurrency import Concurrency
from campaigns.full_disk import FullDisk
from campaigns.payloads import Payloads
from campaigns.runs.damaged_checkpoints import Flips, Truncations
from campaigns.runs.kills import Kills, StagedKills
from campaigns.runs.resumes import Resumes
from unified_seg.errors import UserError
from unified_seg.evaluation.results import get_versions, name_machine

CAMPAIGNS: dict[str, type[Campaign]] = {
    each.name: each for each in (Payloads, Concurrency, FullDisk, Flips, Truncations, Kills, StagedKills, Resumes)
}


class CampaignFailed(UserError):
    """A campaign had tries in which its claim did not hold."""


def run(args: argparse.Namespace) -> None:
    counts = args.counts or {name: campaign.default for name, campaign in CAMPAIGNS.items()}
    if unknown := sorted(counts.keys() - CAMPAIGNS.keys()):
        raise UserError(f"unknown campaign {unknown[0]!r}; the campaigns are {', '.join(CAMPAIGNS)}")
    outcomes = []
    for name, count in counts.items():
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(run_campaign(CAMPAIGNS[name](), count, args.seed, Path(folder)))
        print(f"{name}: {count} tried, {len(outcomes[-1].failures)} failed", flush=True)
    found = get_versions()
    machine = f"{name_machine()}, torch {found['torch']}, Detectron2 {found['detectron2']}"
    if args.output is not None:
        write_report(args.output, outcomes, {name: each.claim for name, each in CAMPAIGNS.items()}, machine)
        print(f"written to {args.output} and {args.output.with_suffix('.md')}")
    if failures := [failure for outcome in outcomes for failure in outcome.failures]:
        raise CampaignFailed(f"{len(failures)} tries failed:\n  " + "\n  ".join(failures[: args.show]))
