"""Run by test_distributed: evaluates drawn streets in two processes over gloo, as a trainer does.

    python two_processes.py FOLDER {shared,padded}

"padded": both processes also get the first image, as a sampler that pads its shares would do.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from detectron2.evaluation import DatasetEvaluators
from drawn_streets import Streets, draw_street, noisy_output, perfect_output
from torch import distributed
from torch.multiprocessing.spawn import start_processes

from unified_seg.evaluation.cityscapes import CityscapesInstanceEvaluator
from unified_seg.evaluation.instances import InstanceEvaluator
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.evaluation.semantic import SemanticEvaluator

EVALUATORS = (SemanticEvaluator, InstanceEvaluator, CityscapesInstanceEvaluator, PanopticEvaluator)


def draw(folder: Path) -> tuple[DatasetEvaluators, list[dict], list[dict]]:
    """The evaluators, 5 records and what a model says about each."""
    folder.mkdir(parents=True, exist_ok=True)
    streets, outputs = Streets(folder), []
    for i in range(5):
        scene = draw_street()
        streets.add(f"alpha_000000_00000{i}", scene)
        labels = {"sem_seg": perfect_output(scene)["sem_seg"].roll(i, dims=2)}
        outputs.append(labels | noisy_output(scene, np.random.default_rng(i)))
    evaluators = DatasetEvaluators([kind(streets.table, streets.records, folder / "out") for kind in EVALUATORS])
    return evaluators, streets.records, outputs


def evaluate(rank: int, folder: Path, mode: str, street: tuple[DatasetEvaluators, list[dict], list[dict]]) -> None:
    rendezvous = f"file://{folder / 'rendezvous'}"
    distributed.init_process_group("gloo", init_method=rendezvous, world_size=2, rank=rank)
    evaluators, records, outputs = street
    mine = list(range(rank, 5, 2))
    if mode == "padded" and rank == 1:
        mine.append(0)
    evaluators.reset()
    for i in mine:
        evaluators.process([records[i]], [outputs[i]])
    each: list = []
    for evaluator in evaluators._evaluators:
        try:
            each.append(evaluator.evaluate())
        except ValueError as error:
            each.append(str(error))
    (folder / f"result_{rank}.json").write_text(json.dumps(each))
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)  # threads do not survive a fork
    target = Path(sys.argv[1])
    start_processes(evaluate, (target, sys.argv[2], draw(target)), nprocs=2, start_method="fork")
