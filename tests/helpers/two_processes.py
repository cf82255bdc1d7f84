"""Evaluate drawn streets in two processes over gloo, as a trainer does; started by test_distributed.

    python two_processes.py FOLDER

It runs four modes, each in a folder of its own. "shared": each process gets its share of the images. "padded": both
also get the first image, as from a sampler that pads its shares. "dying": the second process ends before the results
are gathered. "failing": what reads instances fails in the second process only.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from detectron2.evaluation import DatasetEvaluators
from drawn_streets import Streets, draw_street, noisy_output, perfect_output
from torch import distributed
from torch.multiprocessing.spawn import start_processes

from unified_seg.evaluation.cityscapes_instances import CityscapesInstanceEvaluator
from unified_seg.evaluation.export import CityscapesSemanticExporter, CocoPanopticExporter
from unified_seg.evaluation.independent import IndependentEvaluators
from unified_seg.evaluation.instances import InstanceEvaluator
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.evaluation.recognition import RecognitionEvaluator
from unified_seg.evaluation.semantic import SemanticEvaluator

EVALUATORS = (
    SemanticEvaluator,
    InstanceEvaluator,
    CityscapesInstanceEvaluator,
    PanopticEvaluator,
    partial(RecognitionEvaluator, score_threshold=0.2),
    CocoPanopticExporter,
    CityscapesSemanticExporter,
)


def draw(folder: Path) -> tuple[DatasetEvaluators, list[dict], list[dict]]:
    """Return the evaluators, 5 records and a model's output for each."""
    folder.mkdir(parents=True, exist_ok=True)
    streets, outputs = Streets(folder), []
    for i in range(5):
        scene = draw_street()
        streets.add(f"alpha_000000_00000{i}", scene)
        labels = {"sem_seg": perfect_output(scene)["sem_seg"].roll(i, dims=2)}
        before = {"sem_seg_labels": perfect_output(scene, compact=True)["sem_seg_labels"].roll(3 * i, dims=1)}
        before["instances"] = noisy_output(scene, np.random.default_rng(10 + i))["instances"]
        outputs.append(labels | noisy_output(scene, np.random.default_rng(i)) | {"unfused": before})
    evaluators = DatasetEvaluators([kind(streets.table, streets.records, folder / "out") for kind in EVALUATORS])
    return evaluators, streets.records, outputs


def evaluate(rank: int, folder: Path, mode: str, street: tuple[DatasetEvaluators, list[dict], list[dict]]) -> None:
    rendezvous = f"file://{folder / 'rendezvous'}"
    distributed.init_process_group("gloo", init_method=rendezvous, world_size=2, rank=rank)
    evaluators, records, outputs = street
    mine = list(range(rank, 5, 2))
    if mode == "padded" and rank == 1:
        mine.append(0)
    if mode == "failing":
        evaluators = IndependentEvaluators(evaluators._evaluators)
        if rank == 1:
            del outputs[3]["instances"]
    evaluators.reset()
    for i in mine:
        evaluators.process([records[i]], [outputs[i]])
    if mode == "failing":
        result = [list(evaluators.evaluate()), evaluators.failures]
        (folder / f"result_{rank}.json").write_text(json.dumps(result))
        distributed.destroy_process_group()
        return
    if mode == "dying" and rank == 1:
        os._exit(0)
    each: list = []
    for evaluator in evaluators._evaluators:
        try:
            each.append(evaluator.evaluate())
        except (ValueError, RuntimeError) as error:
            each.append(f"{type(error).__name__}: {error}")
    (folder / f"result_{rank}.json").write_text(json.dumps(each))
    if mode != "dying":
        distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)  # threads do not survive a fork
    for mode in ("shared", "padded", "dying", "failing"):
        target = Path(sys.argv[1]) / mode
        start_processes(evaluate, (target, mode, draw(target)), nprocs=2, start_method="fork")
