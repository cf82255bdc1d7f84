import json
from pathlib import Path

import numpy as np
import pytest
from processes import run_script
from two_processes import EVALUATORS, draw

pytestmark = pytest.mark.end_to_end

TASKS = {
    "sem_seg", "sem_seg_unfused", "bbox", "segm", "segm_unfused", "errors_segm", "cityscapes_instances", "panoptic_seg",
    "recognition",
}  # fmt: skip

SCRIPT = Path(__file__).parents[1] / "helpers/two_processes.py"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of what two processes wrote, with a folder per mode."""
    folder = tmp_path_factory.mktemp("two")
    done = run_script(SCRIPT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def read_results(folder: Path) -> list[list]:
    """Return the results of each process, an entry per evaluator."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("result_*.json"))]


def test_two_processes_give_the_scores_of_one(two: Path, tmp_path: Path):
    main, other = read_results(two / "shared")
    evaluators, records, outputs = draw(tmp_path)
    evaluators.reset()
    evaluators.process(records, outputs)
    alone = evaluators.evaluate()
    merged = {task: scores for result in main for task, scores in result.items()}
    assert merged.keys() == alone.keys() == TASKS
    for task, scores in alone.items():
        assert merged[task] == pytest.approx(scores, nan_ok=True, rel=1e-12), task
    assert other == [None] * len(EVALUATORS)
    for task in ("sem_seg", "sem_seg_unfused"):
        files = [np.load(folder / "out" / f"{task}.npz") for folder in (two / "shared", tmp_path)]
        for key in ("confusion", "per_image", "image_ids", "class_names"):
            assert (files[0][key] == files[1][key]).all()
    written = []
    for out in (two / "shared" / "out", tmp_path / "out"):
        exported = (path for folder in ("panoptic", "sem_seg_cityscapes") for path in (out / folder).glob("*.png"))
        written.append({path.relative_to(out): path.read_bytes() for path in exported})
    assert len(written[0]) == 10
    assert written[0] == written[1]
    jsons = [
        json.loads((folder / "out/panoptic/predictions.json").read_text()) for folder in (two / "shared", tmp_path)
    ]
    assert jsons[0]["annotations"] == jsons[1]["annotations"]


def test_image_given_to_both_processes_is_an_error(two: Path):
    main, _ = read_results(two / "padded")
    assert len(main) == len(EVALUATORS)
    assert all(result.startswith("ValueError: 1 images") and "'alpha_000000_000000'" in result for result in main)


def test_dead_process_is_an_error(two: Path):
    """Item 35: the other process raises an error instead of waiting; `two` would end it after 2 minutes."""
    (main,) = read_results(two / "dying")
    assert all(result.startswith("RuntimeError: ") for result in main)


def test_evaluator_that_fails_in_one_process_leaves_the_others(two: Path):
    (tasks, failures), (_, other_failures) = read_results(two / "failing")
    assert tasks == ["sem_seg", "sem_seg_unfused", "panoptic_seg", "recognition"]
    assert [failure.partition(":")[0] for failure in failures] == ["InstanceEvaluator", "CityscapesInstanceEvaluator"]
    assert sorted(failures) == sorted(other_failures)
    assert len(list((two / "failing/out/panoptic").glob("*.png"))) == 5
