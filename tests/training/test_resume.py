"""Runs that are resumed with a changed config."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from chain_model import PARTS, chain_config
from config_runs import write_arguments
from detectron2.config import CfgNode
from model_parts import without_detector

from unified_seg.config import ConfigError, dump_config, load_config, replace_values
from unified_seg.data.resolve import resolve_config, resolve_stages
from unified_seg.training.lifecycle.best_score import BestCheckpoint
from unified_seg.training.resume import check_resume
from unified_seg.training.run import run
from unified_seg.training.trainer import Trainer

pytestmark = pytest.mark.end_to_end

ITERATIONS = 4
#: The names of Detectron2's and of this project's schedules, with keys that make them differ from a constant.
SCHEDULES = {
    "WarmupMultiStepLR": ["SOLVER.STEPS", "(2,)"],
    "WarmupCosineLR": [],
    "WarmupPolyLR": ["SOLVER.POLY_LR_POWER", "2.0"],
    "WarmupLinearLR": ["SOLVER.WARMUP_ITERS", "6"],
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the run of `config` is made once."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def config(tiny_config: CfgNode, shared: Path) -> CfgNode:
    """The config of a run of a few iterations, in a copy of its folder."""
    cfg = tiny_config
    without_detector(cfg)
    cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.MAX_ITER, cfg.SOLVER.OPTIMIZER = 0, ITERATIONS, "SGD"
    cfg.SOLVER.LR_SCHEDULER_NAME, cfg.SOLVER.STEPS, cfg.SOLVER.BASE_LR = "WarmupMultiStepLR", (100,), 0.001
    cfg.DATASETS.TEST, cfg.DATASETS.CHECK_LABELS, cfg.SEED = (), False, 3
    mine = cfg.OUTPUT_DIR
    if not (shared / "output").exists():
        cfg.OUTPUT_DIR = str(shared / "output")
        run(write_arguments(cfg))
    shutil.copytree(shared / "output", mine, dirs_exist_ok=True)
    cfg.OUTPUT_DIR = mine
    return cfg


def override(cfg: CfgNode, *overrides: str) -> CfgNode:
    return load_config(write_arguments(cfg)[1], overrides)


def changes(cfg: CfgNode, *overrides: str) -> list[str]:
    """Return in words what the log says about a run that is resumed with these overrides."""
    return [str(change) for change in check_resume(resolve_config(override(cfg, *overrides)))]


def saved(cfg: CfgNode) -> dict[str, Any]:
    return torch.load(Path(cfg.OUTPUT_DIR) / "model_final.pth", weights_only=True)


def momenta(trainer: Trainer) -> dict[str, torch.Tensor]:
    state = trainer._trainer.optimizer.state_dict()["state"]
    return {name: state[number]["momentum_buffer"] for number, name in enumerate(trainer._trainer._list_parameters())}


def saved_momenta(cfg: CfgNode) -> dict[str, torch.Tensor]:
    state = saved(cfg)["trainer"]["_trainer"]
    return {name: state["optimizer"]["state"][i]["momentum_buffer"] for i, name in enumerate(state["parameters"])}


def hyperparameters(trainer: Trainer) -> dict[str, dict[str, Any]]:
    """Return all but the parameters themselves of the group of each parameter, by its name."""
    groups = trainer._trainer.optimizer.param_groups
    each = [{k: v for k, v in group.items() if k != "params"} for group in groups for _ in group["params"]]
    return dict(zip(trainer._trainer._list_parameters(), each, strict=True))


def make_fresh(cfg: CfgNode) -> Trainer:
    """Return a trainer that has not resumed, with the learning rates of the iteration after those of the run."""
    trainer = Trainer(cfg)
    for _ in range(ITERATIONS):
        trainer.scheduler.step()
    return trainer


def resume(cfg: CfgNode) -> Trainer:
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=True)
    return trainer


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize(
    "overrides",
    [
        ["SOLVER.BASE_LR", "0.0001"],
        ["SOLVER.WEIGHT_DECAY", "0.5"],
        ["SOLVER.MOMENTUM", "0.5"],
        ["SOLVER.NESTEROV", "True"],
        # These change the groups of the parameters.
        ["SOLVER.BIAS_LR_FACTOR", "2.0", "SOLVER.WEIGHT_DECAY_BIAS", "0.0"],
        ["SOLVER.WEIGHT_DECAY_NORM", "0.3", "SOLVER.NEW_LAYERS_LR_FACTOR", "10.0"],
        ["SOLVER.CLIP_GRADIENTS.ENABLED", "True"],
        ["SOLVER.BASE_LR", "0.01", "SOLVER.GAMMA", "0.5", "SOLVER.STEPS", "(2, 3)"],
        *(["SOLVER.LR_SCHEDULER_NAME", name, *more] for name, more in SCHEDULES.items()),
    ],
)
def test_changed_hyperparameters_take_effect_and_momentum_stays(config: CfgNode, overrides: list[str]) -> None:
    before = saved_momenta(config)
    assert before and all(buffer.any() for buffer in before.values())
    changed = override(config, *overrides, "SOLVER.MAX_ITER", "8")
    resumed, fresh = resume(changed), make_fresh(changed)
    assert hyperparameters(resumed) == hyperparameters(fresh)
    assert resumed.start_iter == ITERATIONS and resumed.scheduler.last_epoch == ITERATIONS
    after = momenta(resumed)
    assert after.keys() == before.keys() and all(torch.equal(before[name], after[name]) for name in before)
    resumed.scheduler.step(), fresh.scheduler.step()
    assert hyperparameters(resumed) == hyperparameters(fresh)


def test_momentum_lies_in_memory_as_its_parameter(config: CfgNode) -> None:
    before, changed = resume(config), resume(override(config, "MODEL.UNIFIED.MEMORY_FORMAT", "channels_last"))
    for trainer, is_last in ((before, False), (changed, True)):
        for parameter, values in trainer._trainer.optimizer.state.items():
            assert values["momentum_buffer"].stride() == parameter.stride()
        weight = trainer.model.backbone.bottom_up.stem.conv1.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) is is_last
    assert all(torch.equal(value, momenta(changed)[name]) for name, value in momenta(before).items())
    (change,) = changes(config, "MODEL.UNIFIED.MEMORY_FORMAT", "channels_last")
    assert change == "MODEL.UNIFIED.MEMORY_FORMAT was 'auto', is 'channels_last'"


def test_unchanged_config_resumes_the_state_as_it_was(config: CfgNode) -> None:
    resumed = resume(config)
    found, expected = resumed._trainer.state_dict(), saved(config)["trainer"]["_trainer"]
    assert found["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    assert found["parameters"] == expected["parameters"]
    assert all(map(torch.equal, momenta(resumed).values(), saved_momenta(config).values()))
    assert changes(config) == []


def test_the_log_lists_what_takes_effect(config: CfgNode, capsys: pytest.CaptureFixture[str]) -> None:
    run(write_arguments(config, "--resume", "SOLVER.BASE_LR", "0.0001", "SOLVER.MAX_ITER", "6"))
    log = capsys.readouterr().out
    assert "SOLVER.BASE_LR was 0.001, is 0.0001;" in log and "SOLVER.MAX_ITER was 4, is 6;" in log
    assert {group["lr"] for group in saved(config)["trainer"]["_trainer"]["optimizer"]["param_groups"]} == {0.0001}
    assert saved(config)["iteration"] == 5


def test_parts_that_are_trained_from_now_on_start_without_momentum(config: CfgNode) -> None:
    frozen = override(config, "SOLVER.TRAIN_PARTS", "['sem_seg_head']")
    resumed = resume(frozen)
    names = resumed._trainer._list_parameters()
    assert names and all(name.startswith("sem_seg_head.") for name in names)
    resumed.checkpointer.save("model_final", iteration=ITERATIONS - 1)
    everything = resume(config)
    state = everything._trainer.optimizer.state_dict()["state"]
    with_momentum = {name for number, name in enumerate(everything._trainer._list_parameters()) if number in state}
    assert with_momentum == set(names)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["SOLVER.OPTIMIZER", "ADAMW", "SOLVER.MAX_ITER", "6"], "SOLVER.OPTIMIZER"),
        (["MODEL.WEIGHTS", "/nowhere/w.pth"], "MODEL.WEIGHTS"),
        (["SOLVER.BASE_LR", "0.1"], "SOLVER.BASE_LR"),  # no iteration is left
    ],
)
def test_changes_without_effect_are_errors_with_hints_that_work(
    config: CfgNode, overrides: list[str], key: str
) -> None:
    command = write_arguments(config, "--resume", *overrides)
    with pytest.raises(SystemExit, match=f"^ConfigError: --resume: {re.escape(key)} was ") as error:
        run(command)
    hints = [shlex.split(hint) for hint in re.findall("`([^`]+)`", str(error.value))]
    assert hints[0][0] == key and {"OUTPUT_DIR", "SOLVER.MAX_ITER"} & {*hints[1]}
    for hint in hints:
        changes(config, *overrides, *hint)
    # The config of the run was not overwritten: the error is the same again.
    with pytest.raises(SystemExit, match=f"^ConfigError: --resume: {re.escape(key)} was "):
        run(command)


def test_another_architecture_is_an_error_with_its_keys(config: CfgNode) -> None:
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"CheckpointError: .*MODEL\.SEM_SEG_HEAD\.CONVS_DIM was \d+, is 16"):
            run(write_arguments(config, "--resume", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16", "SOLVER.MAX_ITER", "6"))


def test_evaluation_keys_of_a_complete_training_take_effect(config: CfgNode) -> None:
    assert changes(config, "TEST.DETECTIONS_PER_IMAGE", "7") == ["TEST.DETECTIONS_PER_IMAGE was 10, is 7"]


def test_checkpoints_of_earlier_versions_are_compared_with_config_yaml(config: CfgNode) -> None:
    file = Path(config.OUTPUT_DIR) / "model_final.pth"
    state = saved(config)
    del state["trainer"]["config"], state["trainer"]["_trainer"]["parameters"]
    torch.save(state, file)
    assert changes(config, "SOLVER.BASE_LR", "0.01", "SOLVER.MAX_ITER", "6") == [
        "SOLVER.BASE_LR was 0.001, is 0.01",
        "SOLVER.MAX_ITER was 4, is 6",
    ]
    changed = override(config, "SOLVER.BASE_LR", "0.01", "SOLVER.MAX_ITER", "6")
    assert hyperparameters(resume(changed)) == hyperparameters(make_fresh(changed))
    with pytest.raises(Exception, match="WEIGHT_DECAY_NORM"):
        resume(override(changed, "SOLVER.BIAS_LR_FACTOR", "2.0"))


def test_the_config_of_the_checkpoint_counts_not_that_of_a_killed_resume(config: CfgNode) -> None:
    """A run that was resumed and killed before its next checkpoint has written config.yaml alone."""
    changed = override(config, "SOLVER.BASE_LR", "0.0001", "SOLVER.MAX_ITER", "6")
    (Path(config.OUTPUT_DIR) / "config.yaml").write_text(dump_config(changed))
    assert changes(changed) == ["SOLVER.BASE_LR was 0.001, is 0.0001", "SOLVER.MAX_ITER was 4, is 6"]


def test_a_run_without_checkpoint_starts_with_any_config(config: CfgNode) -> None:
    (Path(config.OUTPUT_DIR) / "last_checkpoint").unlink()
    (Path(config.OUTPUT_DIR) / "model_final.pth").unlink()
    assert changes(config, "SOLVER.OPTIMIZER", "ADAMW", "MODEL.WEIGHTS", "/nowhere/w.pth") == []


def test_weights_alone_start_at_iteration_0_with_a_warning(config: CfgNode, caplog: pytest.LogCaptureFixture) -> None:
    """Item 14."""
    torch.save({"model": saved(config)["model"]}, Path(config.OUTPUT_DIR) / "model_final.pth")
    trainer = resume(config)
    assert trainer.start_iter == 0
    assert any("model_final.pth has weights alone" in text for text in caplog.messages)


def test_checkpoints_of_earlier_versions_start_the_images_anew(
    config: CfgNode, caplog: pytest.LogCaptureFixture
) -> None:
    damage(config, lambda state: state.pop("processes"))
    config.SOLVER.MAX_ITER = ITERATIONS + 1
    trainer = resume(config)
    assert trainer.start_iter == ITERATIONS and trainer.data_loader.state_dict()["next"] == 0
    assert any("which images come next" in text for text in caplog.messages)


def test_another_number_of_processes_goes_on_after_the_images_that_were_taken(config: CfgNode) -> None:
    one = saved(config)["processes"][0]
    damage(config, lambda state: state.update(processes=[one, one]))
    stream = resume(config).data_loader.state_dict()
    assert stream == {**one["stream"], "next": 2 * one["stream"]["next"], "waiting": []}


def test_best_score_on_other_test_sets_does_not_count(tmp_path: Path) -> None:
    torch.save({"model": {}, "segm/AP": 70.0, "datasets": ["a"]}, tmp_path / "model_best.pth")
    for datasets, expected in ((["a"], 70.0), (["b"], float("-inf"))):
        hook = BestCheckpoint("segm/AP", str(tmp_path), datasets)
        hook.trainer = type("T", (), {"start_iter": 5})()
        hook.before_train()
        assert hook.best == expected


@pytest.fixture
def staged(tiny_config: CfgNode) -> CfgNode:
    """Three stages, of which the first is complete and the second was interrupted after two iterations."""
    cfg = chain_config(tiny_config)
    cfg.DATASETS.CHECK_LABELS, cfg.DATASETS.TEST, cfg.SOLVER.BASE_LR = False, (), 0.05
    cfg.SOLVER.STAGES = list(PARTS)
    cfg.MODEL.SEM_SEG_HEAD.LOSS.FREQUENCY_POWER = 0.5
    for part in PARTS:
        parts = ["backbone", "sem_seg_head.base"] if part == "base" else [f"sem_seg_head.{part}"]
        cfg.STAGES[part] = CfgNode({"SOLVER": {"MAX_ITER": 4, "TRAIN_PARTS": parts}})
    run_config = resolve_config(override(cfg))
    output = Path(cfg.OUTPUT_DIR)
    last = {"base": ("model_final.pth", 3), "second": ("model_0000001.pth", 1)}
    for stage in resolve_stages(run_config)[:2]:
        checkpoint, iteration = last[stage.name]
        weighted = replace_values(stage.config, {"MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS": [2.0, 0.5]})
        # The folder of the run was moved since.
        text = dump_config(weighted).replace(cfg.OUTPUT_DIR, "moved")
        folder = output / stage.name
        folder.mkdir(parents=True)
        torch.save({"model": {}, "iteration": iteration, "trainer": {"config": text}}, folder / checkpoint)
        (folder / "last_checkpoint").write_text(checkpoint)
    (output / "config.yaml").write_text(dump_config(run_config))
    return cfg


def test_keys_take_effect_in_stages_that_are_not_complete(staged: CfgNode) -> None:
    assert changes(staged) == []
    assert changes(staged, "SOLVER.BASE_LR", "0.1") == ["SOLVER.BASE_LR was 0.05, is 0.1"]
    assert changes(staged, "STAGES.third.SOLVER.OPTIMIZER", "SGD") == ["SOLVER.OPTIMIZER was 'ADAMW', is 'SGD'"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["STAGES.base.SOLVER.MAX_ITER", "8"], r"SOLVER\.MAX_ITER was 4, is 8: stage base is complete"),
        (["STAGES.second.SOLVER.OPTIMIZER", "SGD"], r"SOLVER\.OPTIMIZER was 'ADAMW', is 'SGD'"),
        (["MODEL.WEIGHTS", "/nowhere/w.pth"], r"MODEL\.WEIGHTS was '', is"),
        (["SOLVER.STAGES", "['base', 'second']"], r"SOLVER\.STAGES was"),
        (["SOLVER.STAGES", "[]"], r"SOLVER\.STAGES was"),
    ],
)
def test_changes_of_complete_stages_are_errors(staged: CfgNode, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"--resume: {message}") as error:
        changes(staged, *overrides)
    hint = shlex.split(re.findall("`([^`]+)`", str(error.value))[0])
    assert hint[0] == overrides[0]
    assert changes(staged, *overrides, *hint) == []


def damage(cfg: CfgNode, change: Any) -> None:
    file = Path(cfg.OUTPUT_DIR) / "model_final.pth"
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(iteration="3", trainer={**state["trainer"], "iteration": "3"}),
        lambda state: state["trainer"].update(iteration=-500),
        lambda state: state["trainer"].update(train_s=float("nan")),
        lambda state: state["trainer"].update(config=[1]),
        lambda state: state["trainer"].update(hooks=[1]),
        lambda state: state["trainer"].update(_trainer={"iteration": 3}),
        lambda state: state["trainer"]["_trainer"]["optimizer"].update(state={0: {"momentum_buffer": torch.ones(9)}}),
        lambda state: state["trainer"]["_trainer"]["optimizer"].update(state={0: {"momentum_buffer": "x"}}),
        lambda state: state["trainer"]["_trainer"]["optimizer"].update(state=[1]),
        lambda state: state.update(trainer=[]),
        lambda state: state.update(processes=3),
        lambda state: state.update(processes=[{"stream": {"next": "x"}}]),
        lambda state: state["processes"][0].update(random={"torch": torch.zeros(3)}),
    ],
)
def test_junk_in_the_state_of_a_run_ends_in_one_line(config: CfgNode, change: Any) -> None:
    damage(config, change)
    with pytest.raises(SystemExit) as end:
        run([*write_arguments(config), "--resume", "SOLVER.MAX_ITER", str(ITERATIONS + 1)])
    assert re.fullmatch(r"(Checkpoint|Config)Error: .+", str(end.value))
