"""Staged runs of the chain model, through the same entry point as `tools/train_net.py`."""

import gc
import json
import shutil
from pathlib import Path

import pytest
import torch
from chain_model import PARTS, chain_config
from config_runs import write_arguments
from detectron2.config import CfgNode
from processes import run_script
from torch import Tensor

from unified_seg.checkpoint import CheckpointError
from unified_seg.config import ConfigError, load_config
from unified_seg.data.problems import DataError
from unified_seg.training.run import run
from unified_seg.training.stages import run_stages
from unified_seg.training.step import unwrap
from unified_seg.training.trainer import Trainer

pytestmark = pytest.mark.end_to_end

INTERRUPT = Path(__file__).parents[1] / "helpers/interrupt_stages.py"
BASE_PARTS = ["backbone", "sem_seg_head.base"]
ITERATIONS = (4, 5, 6)


@pytest.fixture(autouse=True, scope="module")
def _small_garbage() -> None:
    """Exempt what the tests before left from the garbage collection after each stage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def config(tiny_config: CfgNode) -> CfgNode:
    """Three stages, with an evaluation in the middle of each."""
    cfg = chain_config(tiny_config)
    cfg.DATASETS.CHECK_LABELS = False
    cfg.TEST.EVAL_PERIOD = cfg.SOLVER.CHECKPOINT_PERIOD = 2
    cfg.SOLVER.BASE_LR = 0.05
    cfg.SOLVER.STAGES = list(PARTS)
    for part, iterations in zip(PARTS, ITERATIONS):
        parts = BASE_PARTS if part == "base" else [f"sem_seg_head.{part}"]
        cfg.STAGES[part] = CfgNode({"SOLVER": {"MAX_ITER": iterations, "TRAIN_PARTS": parts}})
    return cfg


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the run of `finished` is made once."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def finished(config: CfgNode, shared: Path) -> CfgNode:
    """The config of a finished run, in a copy of its folder; it started from `start.pth` in the shared folder."""
    mine = Path(config.OUTPUT_DIR)
    if not (shared / "output").exists():
        torch.manual_seed(1)
        model = Trainer.build_model(config)
        for name, buffer in model.named_buffers():
            if ".running_" in name:
                buffer.uniform_()
        torch.save({"model": model.state_dict()}, shared / "start.pth")
        config.MODEL.WEIGHTS, config.OUTPUT_DIR = str(shared / "start.pth"), str(shared / "output")
        run(write_arguments(config))
    shutil.copytree(shared / "output", mine)
    config.MODEL.WEIGHTS, config.OUTPUT_DIR = str(shared / "start.pth"), str(mine)
    return config


def folders(cfg: CfgNode) -> list[Path]:
    output = Path(cfg.OUTPUT_DIR)
    return [*(output / stage for stage in cfg.SOLVER.STAGES[:-1]), output]


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "model_final.pth", weights_only=True)


def weights(folder: Path) -> dict[str, Tensor]:
    return checkpoint(folder)["model"]


def scores(folder: Path) -> dict:
    return json.loads((folder / "inference" / "results.json").read_text())


def history(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> set[str]:
    assert a.keys() == b.keys()
    return {name for name in a if not torch.equal(a[name], b[name])}


def of_parts(state: dict[str, Tensor], *parts: str) -> set[str]:
    return {name for name in state if name.startswith(tuple(f"{part}." for part in parts))}


def test_frozen_parts_stay_bit_identical_with_evaluations_in_between(finished: CfgNode) -> None:
    states = [torch.load(finished.MODEL.WEIGHTS, weights_only=True)["model"], *map(weights, folders(finished))]
    for before, after, parts in zip(states, states[1:], [BASE_PARTS, *([f"sem_seg_head.{p}"] for p in PARTS[1:])]):
        # Each tensor of the trained parts, statistics and counts of batches too, and no other bit.
        assert differing(before, after) == of_parts(after, *parts)
    for folder, iterations in zip(folders(finished), ITERATIONS):
        assert checkpoint(folder)["iteration"] == iterations - 1
    # After every second iteration and at the end: 2, 4 | 2, 4, 5 | 2, 4, 6.
    assert (folders(finished)[-1] / "log.txt").read_text().count("batches in") == 8


def test_duration_of_a_run_is_that_of_its_stages(finished: CfgNode) -> None:
    seconds = [checkpoint(folder)["trainer"]["train_s"] for folder in folders(finished)]
    assert all(part > 0 for part in seconds)
    assert [scores(folder)["train_s"] for folder in folders(finished)] == pytest.approx([*seconds[:2], sum(seconds)])


def test_folder_of_a_stage_has_its_config(finished: CfgNode) -> None:
    for folder, iterations in zip(folders(finished)[:-1], ITERATIONS):
        cfg = load_config(folder / "config.yaml")
        assert cfg.SOLVER["MAX_ITER"] == iterations
        assert cfg.SOLVER.STAGES == [] and cfg.STAGES == {}
    # With the periods that follow from its iterations.
    written = load_config(folders(finished)[-1] / "config.yaml").STAGES
    assert all(written[name].SOLVER.items() >= stage.SOLVER.items() for name, stage in finished.STAGES.items())


def test_eval_only_uses_the_last_stage(finished: CfgNode) -> None:
    final = str(folders(finished)[-1] / "model_final.pth")
    trained = scores(folders(finished)[-1])["results"][finished.DATASETS.TEST[0]]["sem_seg"]
    evaluated = run(write_arguments(finished, "--eval-only", "MODEL.WEIGHTS", final))
    assert evaluated["sem_seg"]["mIoU"] == pytest.approx(trained["mIoU"])
    smaller = ["STAGES.third.INPUT.MIN_SIZE_TEST", "8"]
    evaluated = run(write_arguments(finished, "--eval-only", "MODEL.WEIGHTS", final, *smaller))
    assert evaluated["sem_seg"]["mIoU"] != pytest.approx(trained["mIoU"])


@pytest.mark.parametrize("skipped", PARTS[:2])
def test_result_replaces_a_stage_and_those_before_it(finished: CfgNode, skipped: str, tmp_path: Path) -> None:
    before = finished.clone()
    number = PARTS.index(skipped)
    result = folders(before)[number] / "model_final.pth"
    finished.OUTPUT_DIR = str(tmp_path / "mine")
    run(write_arguments(finished, f"STAGES.{skipped}.RESULT", str(result), "MODEL.WEIGHTS", ""))
    assert not any(folder.exists() for folder in folders(finished)[: number + 1])
    # A stage has the same result whether those before it were trained in the same run or not.
    assert differing(weights(folders(finished)[-1]), weights(folders(before)[-1])) == set()
    seconds = [checkpoint(folder)["trainer"]["train_s"] for folder in folders(finished)[number + 1 :]]
    assert scores(folders(finished)[-1])["train_s"] == pytest.approx(sum(seconds))


def read_end(folder: Path) -> tuple[int, int, str]:
    last = (folder / "last_checkpoint").read_text()
    return checkpoint(folder)["iteration"], history(folder)[-1]["iteration"], last


def test_killed_runs_resume_in_their_stage(finished: CfgNode, tiny_dataset, tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "toyscapes").symlink_to(tiny_dataset.root)
    finished.DATASETS.TRAIN, finished.DATASETS.TEST = ("unified_toyscapes_train",), ("unified_toyscapes_val",)
    killed, whole = tmp_path / "killed", Path(finished.OUTPUT_DIR)
    environment = {"DETECTRON2_DATASETS": str(tmp_path / "datasets")}
    process = run_script(INTERRUPT, write_arguments(finished)[1], killed, "second:3", "killed:3", env=environment)
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]

    log = (killed / "log.txt").read_text()
    titles = [f"stage {part} ({number} of 3)" for number, part in enumerate(PARTS, 1)]
    assert [log.count(f"{title}: starts") for title in titles] == [1, 1, 1]
    # Checkpoints are written after the iterations 1 and 3.
    assert [log.count(f"{title}: resumes from model_0000001.pth") for title in titles] == [0, 1, 1]
    assert [log.count(f"{title}: trained before") for title in titles] == [2, 1, 0]
    assert {file.parent for file in killed.rglob("model_final.pth")} == {killed / "base", killed / "second", killed}
    finished.OUTPUT_DIR = str(killed)
    for folder, other in zip(folders(finished), (whole / "base", whole / "second", whole)):
        assert read_end(folder) == read_end(other)
    base, second, third = map(weights, folders(finished))
    assert differing(base, weights(whole / "base")) == set()  # it was not trained again
    assert differing(base, second) == of_parts(base, "sem_seg_head.second")
    assert differing(second, third) == of_parts(base, "sem_seg_head.third")
    seconds = [checkpoint(folder)["trainer"]["train_s"] for folder in folders(finished)]
    assert scores(killed)["train_s"] == pytest.approx(sum(seconds))


def test_a_new_run_needs_a_folder_of_its_own(finished: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [weights(folder) for folder in folders(finished)]
    with pytest.raises(SystemExit, match=r"ConfigError: OUTPUT_DIR.*--resume.*--set-aside"):
        run(write_arguments(finished, "SEED", "4"))
    assert all((folder / "last_checkpoint").read_text() == "model_final.pth" for folder in folders(finished))

    def fail(self: Trainer) -> None:
        raise FloatingPointError("before the first checkpoint")

    monkeypatch.setattr(Trainer, "run_step", fail)
    with pytest.raises(FloatingPointError):
        run(write_arguments(finished, "--set-aside", "SEED", "4"))
    monkeypatch.undo()
    # The earlier run is in a folder below, and this one does not resume from it.
    run(write_arguments(finished, "--resume", "SEED", "4"))
    for before, folder, iterations in zip(old, folders(finished), ITERATIONS):
        assert differing(before, weights(folder)) and checkpoint(folder)["iteration"] == iterations - 1
    output = Path(finished.OUTPUT_DIR)
    moved = [output / "earlier_run_1" / folder.relative_to(output) for folder in folders(finished)]
    assert all(differing(before, weights(folder)) == set() for before, folder in zip(old, moved))
    ids = {checkpoint(folder)["run"] for folder in folders(finished)}
    assert len(ids) == 1 and ids.isdisjoint(checkpoint(folder)["run"] for folder in moved)


@pytest.mark.parametrize("lost", ["base", "second/model_final.pth"])
def test_a_stage_is_never_trained_again_after_a_later_one(finished: CfgNode, lost: str) -> None:
    output = Path(finished.OUTPUT_DIR)
    shutil.rmtree(output / lost) if lost == "base" else (output / lost).unlink()
    for name in ("model_final.pth", "model_0000005.pth", "last_checkpoint"):
        (output / name).unlink()
    run(write_arguments(finished, "--resume"))
    log = (output / "log.txt").read_text()
    assert log.count("stage third (3 of 3): resumes from model_0000003.pth") == 1
    assert log.count("stage base (1 of 3): trained before") == 1
    assert not (output / lost).exists() and checkpoint(output)["iteration"] == ITERATIONS[-1] - 1


def test_finished_run_is_evaluated_again_on_resume(finished: CfgNode) -> None:
    folder = folders(finished)[-1]
    before, state = scores(folder), weights(folder)
    shutil.rmtree(folder / "inference")
    run(write_arguments(finished, "--resume"))
    after = scores(folder)
    assert (after["results"], after["train_s"]) == (before["results"], pytest.approx(before["train_s"]))
    assert differing(state, weights(folder)) == set()


def test_each_stage_has_its_own_optimizer(config: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    train = Trainer.train

    def recorded(self: Trainer):
        groups = self._trainer.optimizer.param_groups
        named = {id(p): name for name, p in unwrap(self.model).named_parameters()}
        parts = {".".join(named[id(p)].split(".")[:2]) for group in groups for p in group["params"]}
        seen.append((type(self._trainer.optimizer).__name__, groups[0]["initial_lr"], parts))
        return train(self)

    monkeypatch.setattr(Trainer, "train", recorded)
    config.DATASETS.TEST = ()
    config.STAGES.second.SOLVER.OPTIMIZER, config.STAGES.second.SOLVER.BASE_LR = "ADAM", 0.25
    run_directly(config)
    base = {"backbone.conv", "backbone.norm", "sem_seg_head.base"}
    assert seen == [
        ("AdamW", 0.05, base), ("Adam", 0.25, {"sem_seg_head.second"}), ("AdamW", 0.05, {"sem_seg_head.third"}),
    ]  # fmt: skip


def run_directly(cfg: CfgNode, *overrides: str) -> None:
    """Without the log and the description of the environment, which take longer than the training."""
    folder = Path(cfg.OUTPUT_DIR)
    folder.mkdir(exist_ok=True)
    run_stages(load_config(write_arguments(cfg)[1], overrides), resume=False)


@pytest.mark.parametrize(
    "stages",
    [
        {"all": [], "second": ["sem_seg_head.second"], "third": ["sem_seg_head.third"]},
        {"base": BASE_PARTS, "second": ["sem_seg_head.second"], "all": []},
        {"head": ["sem_seg_head.base"], "base": BASE_PARTS},
    ],
)
def test_parts_may_be_trained_again_with_all_that_depends_on_them(
    config: CfgNode, stages: dict[str, list[str]], tmp_path: Path
) -> None:
    torch.save({"model": Trainer.build_model(config).state_dict()}, tmp_path / "start.pth")
    config.SOLVER.STAGES, config.DATASETS.TEST = list(stages), ()
    config.STAGES = CfgNode({name: {"SOLVER": {"MAX_ITER": 1, "TRAIN_PARTS": parts}} for name, parts in stages.items()})
    run_directly(config, "MODEL.WEIGHTS", str(tmp_path / "start.pth"))
    assert checkpoint(Path(config.OUTPUT_DIR))["iteration"] == 0


ORDER = r"SOLVER\.STAGES: .*stage {} trains {} after stage {} trained {}"
BASE, SECOND, THIRD = r"backbone, sem_seg_head\.base", r"sem_seg_head\.second", r"sem_seg_head\.third"
THIRD_PARTS = "STAGES.third.SOLVER.TRAIN_PARTS"
OTHER_BASE = {
    "MODEL.SEM_SEG_HEAD.NAME": "ASPRefinementHead", "MODEL.SEM_SEG_HEAD.IN_FEATURES": "['map']",
    "SOLVER.TRAIN_PARTS": "[]",
}  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["SOLVER.STAGES", "['base', 'third', 'second']"], ORDER.format("second", SECOND, "third", THIRD)),
        (["SOLVER.STAGES", "['second', 'base', 'third']"], ORDER.format("base", BASE, "second", SECOND)),
        ([THIRD_PARTS, "['backbone']"], ORDER.format("third", BASE, "second", SECOND)),
        (["SOLVER.STAGES", "['base', 'fourth']"], r"STAGES\.fourth"),
        ([THIRD_PARTS, "['sem_seg_head.thrid']"], rf"stage third: .*SOLVER\.TRAIN_PARTS.*{THIRD}"),
        ([THIRD_PARTS, "['sem_seg_head.third.dropout']"], rf"stage third: .*SOLVER\.TRAIN_PARTS.*{THIRD}\.dropout"),
        (["STAGES.third.MODEL.SEM_SEG_HEAD.NAME", "NoHead"], "stage third: .*'NoHead'"),
        (["STAGES.third.SOLVER.OPTIMIZER", "LION"], r"stage third: SOLVER\.OPTIMIZER: .*'LION'"),
        (["STAGES.third.SOLVER.AMP.ENABLED", "True"], r"stage third: SOLVER\.AMP\.PRECISION: float16"),
        (["STAGES.third.MODEL.META_ARCHITECTURE", "SemanticSegmentor"], "stage third: .*UnifiedSegmentor"),
        (["STAGES.third.MODEL.DEVICE", "gpu"], r"stage third: MODEL\.DEVICE: .*gpu"),
        (["STAGES.third.SOLVER.LR_SCHEDULER_NAME", "Foo"], r"stage third: SOLVER\.LR_SCHEDULER_NAME: .*Foo"),
        (["STAGES.third.SOLVER.MAX_ITER", "0"], r"stage third: SOLVER\.MAX_ITER: .*0"),
        (["STAGES.third.SOLVER.CHECKPOINT_PERIOD", "0"], r"stage third: SOLVER\.CHECKPOINT_PERIOD: .*0"),
        (["STAGES.third.DATASETS.TEST", "['unified_nowhere']"], r"stage third: DATASETS\.TEST: .*'unified_nowhere'"),
        (["STAGES.third.DATASETS.TEST", "['unified_cityscapes_val']"], "cityscapes"),
        (["STAGES.third.RESULT", "x.pth"], r"STAGES\.third\.RESULT"),
        (["STAGES.base.RESULT", "/nowhere/x.pth"], r"STAGES\.base\.RESULT: /nowhere/x\.pth"),
        # Frozen parts that come neither from weights nor from a stage before, or from another base head.
        (["SOLVER.STAGES", "['second', 'third']"], r"MODEL\.WEIGHTS is empty: 12 .*backbone\."),
        ([word for key, value in OTHER_BASE.items() for word in (f"STAGES.base.{key}", value)],
         r"weights of stage base for stage second: 6 of 12 .*sem_seg_head\.base\."),
    ],
)  # fmt: skip
def test_impossible_stages_are_refused_before_training(config: CfgNode, overrides: list[str], message: str) -> None:
    with pytest.raises((ConfigError, CheckpointError, DataError), match=message):
        run_directly(config, *overrides)
    assert not any(Path(config.OUTPUT_DIR).rglob("*.pth"))


def test_unused_stages_are_warned_of(config: CfgNode, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CheckpointError):
        run_directly(config, "SOLVER.STAGES", "['second', 'third']", "STAGES.tihrd.SOLVER.MAX_ITER", "9")
    assert any(text.startswith("SOLVER.STAGES: base, tihrd ") for text in caplog.messages)


def test_result_with_other_classes_is_refused(config: CfgNode, tmp_path: Path) -> None:
    state = Trainer.build_model(config).state_dict()
    state["sem_seg_head.base.classifier.weight"] = torch.zeros(5, 8, 1, 1)
    state["sem_seg_head.base.classifier.bias"] = torch.zeros(5)
    torch.save({"model": state}, tmp_path / "five.pth")
    # One line on the command line, without a traceback.
    with pytest.raises(SystemExit, match=r"five\.pth: 2 of 12 .*SOLVER\.TRAIN_PARTS.*\(5,.*\(19,"):
        run(write_arguments(config, "STAGES.base.RESULT", str(tmp_path / "five.pth")))
    assert not any(Path(config.OUTPUT_DIR).rglob("*.pth"))
