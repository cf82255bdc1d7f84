"""Runs of the real trainer on the hand-drawn data set, through the same entry point as `tools/train_net.py`."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from detectron2.data import MetadataCatalog
from model_parts import without_detector

from unified_seg.config import CfgNode, ConfigError, dump_config
from unified_seg.evaluation import list_tasks
from unified_seg.structures.class_table import ClassTable
from unified_seg.training.lifecycle.best_metric import list_metrics
from unified_seg.training.lifecycle.best_score import BestCheckpoint
from unified_seg.training.run import run
from unified_seg.training.trainer import Trainer


def arguments(cfg, *overrides):
    """The command line that trains `cfg` on the CPU."""
    path = Path(cfg.OUTPUT_DIR).parent / "run.yaml"
    cfg.SEED = 3
    path.write_text(dump_config(cfg))
    return ["--config-file", str(path), *overrides]


def semantic_only(cfg):
    without_detector(cfg)
    cfg.SOLVER.WARMUP_ITERS = 0
    return cfg


def weights(folder):
    return torch.load(Path(folder) / "model_final.pth", weights_only=True)["model"]


def scores(folder):
    return json.loads((Path(folder) / "inference" / "results.json").read_text())


def test_full_model_trains_and_eval_only_repeats_its_scores(tiny_config):
    folder = Path(tiny_config.OUTPUT_DIR)
    trained = run(arguments(tiny_config, "SOLVER.MAX_ITER", "3"))
    first = scores(folder)
    (tasks,) = first["results"].values()
    assert {"sem_seg", "bbox", "segm", "errors_segm", "panoptic_seg", "cityscapes_instances", "recognition"} == set(
        tasks
    )
    table = ClassTable.from_metadata(MetadataCatalog.get(tiny_config.DATASETS.TEST[0]))
    for task in list_tasks(tiny_config):
        assert list(tasks[task]) == list_metrics(task, table)
    assert first["train_s"] > 0 and first["eval_s"] > 0
    log = (folder / "log.txt").read_text()
    assert f"Scores are in {folder / 'inference'}" in log and "Cityscapes AP" in log
    assert {"config.yaml", "log.txt", "metrics.json", "metrics.csv", "last_checkpoint"} <= {
        p.name for p in folder.iterdir()
    }

    evaluated = run(arguments(tiny_config, "--eval-only", "MODEL.WEIGHTS", str(folder / "model_final.pth")))
    assert scores(folder)["results"] == first["results"] and scores(folder)["train_s"] == first["train_s"]
    assert evaluated["sem_seg"]["mIoU"] == trained["sem_seg"]["mIoU"]


@pytest.mark.end_to_end
def test_same_seed_gives_the_same_weights(tiny_config):
    results = []
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        folder = Path(tiny_config.OUTPUT_DIR).with_name(name)
        options = ["SOLVER.MAX_ITER", "2", "DATASETS.TEST", "()", "OUTPUT_DIR", str(folder), "SEED", seed]
        run(arguments(tiny_config, *options))
        results.append(weights(folder))
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])
    assert any(not torch.equal(results[0][key], results[2][key]) for key in results[0])


@pytest.mark.end_to_end
def test_resume_continues_from_the_last_checkpoint(tiny_config):
    semantic_only(tiny_config)
    tiny_config.SOLVER.CHECKPOINT_PERIOD = 2
    folder = Path(tiny_config.OUTPUT_DIR)
    run(arguments(tiny_config, "SOLVER.MAX_ITER", "4"))
    # As after an interruption: the checkpoint of iteration 2 is the last one there.
    (folder / "model_final.pth").unlink()
    (folder / "model_0000003.pth").unlink(missing_ok=True)
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    shutil.rmtree(folder / "inference")
    run(arguments(tiny_config, "--resume", "SOLVER.MAX_ITER", "4"))
    assert torch.load(folder / "model_final.pth", weights_only=True)["iteration"] == 3
    assert "Starting training from iteration 2" in (folder / "log.txt").read_text()
    assert scores(folder)["results"]


@pytest.mark.end_to_end
def test_resume_restores_the_optimizer(tiny_config):
    options = ["SOLVER.MAX_ITER", "2", "SOLVER.OPTIMIZER", "ADAMW"]
    run(arguments(semantic_only(tiny_config), *options))
    saved = torch.load(Path(tiny_config.OUTPUT_DIR) / "model_final.pth", weights_only=True)["trainer"]["_trainer"]
    tiny_config.merge_from_list(options)
    trainer = Trainer(tiny_config)
    assert not trainer._trainer.optimizer.state
    trainer.resume_or_load(resume=True)
    state = trainer._trainer.optimizer.state_dict()["state"]
    assert len(state) == len(list(trainer.model.parameters())) == len(saved["optimizer"]["state"])
    for number, found in state.items():
        expected = saved["optimizer"]["state"][number]
        assert found["step"] == expected["step"] == 2
        assert all(torch.equal(found[key], expected[key]) for key in ("exp_avg", "exp_avg_sq"))
        assert found["exp_avg_sq"].any()


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["SOLVER.OPTIMIZER", "ADAMW"], r"ConfigError: --resume: SOLVER\.OPTIMIZER .*SGD.*ADAMW"),
        (["MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"], r"CheckpointError: .*model_final\.pth.*sem_seg_head"),
        (["SOLVER.MAX_ITER", "1"], r"ConfigError: SOLVER\.MAX_ITER: .*2.*output.*1"),
    ],
)
def test_run_of_another_config_is_not_resumed(tiny_config, options, message):
    run(arguments(semantic_only(tiny_config), "SOLVER.MAX_ITER", "2", "SOLVER.OPTIMIZER", "SGD"))
    with pytest.raises(SystemExit, match=message):
        run(arguments(tiny_config, "--resume", "SOLVER.MAX_ITER", "2", "SOLVER.OPTIMIZER", "SGD", *options))


@pytest.mark.end_to_end
def test_bfloat16_trains_on_the_cpu(tiny_config):
    amp = ["SOLVER.AMP.ENABLED", "True", "SOLVER.AMP.PRECISION", "bfloat16", "DATASETS.TEST", "()"]
    run(arguments(tiny_config, "SOLVER.MAX_ITER", "1", *amp))
    assert all(value.isfinite().all() for value in weights(tiny_config.OUTPUT_DIR).values())


def test_float16_on_the_cpu_is_refused_before_training(tiny_config):
    with pytest.raises(SystemExit, match=r"SOLVER\.AMP\.PRECISION: float16"):
        run(arguments(tiny_config, "SOLVER.AMP.ENABLED", "True"))


def test_infinite_loss_stops_before_the_weights_change(tiny_config):
    trainer = Trainer(semantic_only(tiny_config))
    trainer.checkpointer.save("before")
    with torch.no_grad():
        trainer.model.sem_seg_head.classifier.bias.fill_(float("nan"))
    kept = trainer.model.backbone.bottom_up.stem.conv1.weight.clone()
    with pytest.raises(FloatingPointError, match="iteration=0"):
        trainer.train()
    assert torch.equal(trainer.model.backbone.bottom_up.stem.conv1.weight, kept)


@pytest.mark.end_to_end
def test_best_checkpoint_keeps_last_checkpoint(tiny_config):
    semantic_only(tiny_config)
    folder = Path(tiny_config.OUTPUT_DIR)
    options = ["SOLVER.MAX_ITER", "4", "TEST.EVAL_PERIOD", "2", "TEST.BEST_CHECKPOINT_METRIC", "sem_seg/mIoU"]
    run(arguments(tiny_config, *options))
    assert (folder / "last_checkpoint").read_text() == "model_final.pth"
    best = torch.load(folder / "model_best.pth", weights_only=True)
    history = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    values = [line["sem_seg/mIoU"] for line in history if "sem_seg/mIoU" in line]
    assert best["sem_seg/mIoU"] == pytest.approx(max(values))


def test_resumed_run_remembers_the_best_score(tmp_path):
    # Detectron2 writes checkpoints before evaluations, so the best score must come from the file of the best.
    torch.save({"model": {}, "sem_seg/mIoU": 70.0}, tmp_path / "model_best.pth")
    for start_iter, expected in ((5, 70.0), (0, float("-inf"))):
        hook = BestCheckpoint("sem_seg/mIoU", str(tmp_path))
        hook.trainer = type("T", (), {"start_iter": start_iter})()
        hook.before_train()
        assert hook.best == expected


def test_unknown_best_metric_is_named(tmp_path):
    hook = BestCheckpoint("sem_seg/mAP", str(tmp_path))
    hook.trainer = type("T", (), {"_last_eval_results": {"sem_seg": {"mIoU": 1.0}}})()
    with pytest.raises(ConfigError, match=r"TEST\.BEST_CHECKPOINT_METRIC: .*sem_seg/mAP"):
        hook.after_step()


@pytest.mark.parametrize(("metric", "datasets"), [("mIoU", ["a"]), ("sem_seg/mIoU", ["a", "b"]), ("", [])])
def test_best_metric_of_another_form_is_named_before_training(tmp_path, metric, datasets):
    with pytest.raises(ConfigError, match=r"TEST\.BEST_CHECKPOINT_METRIC: expected a path .*data set"):
        BestCheckpoint(metric, str(tmp_path), datasets)


@pytest.mark.parametrize("results", [{"segm": {"AP": float("nan")}}, {}, {"bbox": {"AP": 1.0}}])
def test_undefined_score_is_never_the_best(tmp_path, results, caplog):
    hook = BestCheckpoint("segm/AP", str(tmp_path), tasks=["bbox", "segm"])
    hook.trainer = type("T", (), {"_last_eval_results": results})()
    hook.after_step()
    assert not list(tmp_path.iterdir())


@pytest.mark.end_to_end
def test_pictures_reach_tensorboard(tiny_config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # Pictures have the size of the original image, whatever the model sees.
    run(arguments(tiny_config, "SOLVER.MAX_ITER", "2", "VIS_PERIOD", "2", "INPUT.MIN_SIZE_TEST", "48"))
    events = EventAccumulator(tiny_config.OUTPUT_DIR)
    events.Reload()
    # Detectron2's RPN and mask head add pictures of their own.
    assert {"samples/0", "samples/1"} <= set(events.Tags()["images"])
    assert "loss_sem_seg" in events.Tags()["scalars"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["DATASETS.TRAIN", "('unified_nowhere',)"], r"DATASETS\.TRAIN: .*'unified_nowhere'"),
        (["MODEL.SEM_SEG_HEAD.NAMES", "x"], r"command line: .*MODEL\.SEM_SEG_HEAD\.NAMES; did you mean"),
        (["MODEL.SEM_SEG_HEAD.NAME", "NoHead"], "'NoHead'.*ASPRefinementHead"),
        (["MODEL.PANOPTIC_FUSION.NAME", "NoFusion"], "'NoFusion'.*ScoreOrderFusion"),
        (["MODEL.WEIGHTS", "/nowhere/w.pth"], r"weights /nowhere/w\.pth"),
        (["MODEL.UNIFIED.OUTPUT", "full"], r"MODEL\.UNIFIED\.OUTPUT.*'full'"),
        (["MODEL.BACKBONE.NAME", "build_nothing"], "build_nothing"),
        (["MODEL.RESNETS.DEPTH", "20"], "20"),
        (["MODEL.SEM_SEG_HEAD.NORM", "GNN"], "'GNN'"),
        (["MODEL.ROI_HEADS.NAME", ""], r"MODEL\.ROI_HEADS\.NAME"),
        (["DATASETS.TEST", "('unified_cityscapes_val',)"], "Error: .*cityscapes"),
        (["MODEL.DEVICE", "gpu"], r"MODEL\.DEVICE: .*gpu"),
        (["SOLVER.IMS_PER_BATCH", "0"], r"SOLVER\.IMS_PER_BATCH: .*0"),
        (
            ["SOLVER.OPTIMIZER", "SGD", "SOLVER.NESTEROV", "True", "SOLVER.MOMENTUM", "0.0"],
            r"SOLVER\.NESTEROV: .*SOLVER\.MOMENTUM",
        ),
        (["SOLVER.POLY_LR_POWER", "-1.0"], r"SOLVER\.POLY_LR_POWER: .*-1"),
        (["SOLVER.LR_SCHEDULER_NAME", "WarmupPolyLR", "SOLVER.WARMUP_METHOD", "cubic"], r"WARMUP_METHOD: .*'cubic'"),
        (
            ["SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "-1.0"],
            r"CLIP_GRADIENTS\.CLIP_VALUE: .*-1",
        ),
        (["TEST.BEST_CHECKPOINT_METRIC", "sem_seg/mIuO"], r"BEST_CHECKPOINT_METRIC: .*'mIuO'.*mIoU, .*IoU-<class>"),
        (["TEST.BEST_CHECKPOINT_METRIC", "sem_sge/mIoU"], r"BEST_CHECKPOINT_METRIC: .*'sem_sge'.*panoptic_seg"),
        (["TEST.BEST_CHECKPOINT_METRIC", "mIoU"], r"BEST_CHECKPOINT_METRIC: 'mIoU' is no path"),
        (
            ["SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "nrom"],
            r"ConfigError: SOLVER\.CLIP_GRADIENTS\.CLIP_TYPE: .*value, norm.*'nrom'",
        ),
    ],
)
def test_wrong_input_ends_a_run_in_one_line(tiny_config, options, message):
    with pytest.raises(SystemExit, match=message):
        run(arguments(tiny_config, *options))
    assert not list(Path(tiny_config.OUTPUT_DIR).glob("*.pth"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_absent_gpu_is_an_error(tiny_config):
    with pytest.raises(SystemExit, match=r"ConfigError: MODEL\.DEVICE cuda"):
        run(arguments(tiny_config, "MODEL.DEVICE", "cuda"))


@pytest.mark.end_to_end
def test_doubtful_keys_are_warned_of(tiny_config, capsys):
    """A warm-up that never ends; keys that have changed since the start of the run or that stages override."""
    semantic_only(tiny_config).SOLVER.WARMUP_ITERS = 1
    run(arguments(tiny_config, "SOLVER.MAX_ITER", "1"))
    assert "SOLVER.WARMUP_ITERS: 1" in capsys.readouterr().out
    run(arguments(tiny_config, "--resume", "SOLVER.MAX_ITER", "2"))
    assert "SOLVER.MAX_ITER was 1, is 2; " in capsys.readouterr().out
    tiny_config.SOLVER.STAGES, tiny_config.STAGES.a = ["a"], CfgNode({"SOLVER": {"MAX_ITER": 1}})
    with pytest.raises(SystemExit, match=r"SOLVER\.MAX_ITER 2 .*STAGES\.a\.SOLVER\.MAX_ITER"):
        run(arguments(tiny_config, "SOLVER.MAX_ITER", "2"))


def test_an_interrupted_training_names_resume(tiny_config, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run_step", interrupt)
    with pytest.raises(SystemExit, match="interrupted; with --resume "):
        run(arguments(semantic_only(tiny_config)))


def test_frozen_layers_without_weights_are_an_error_unless_asked_for(tiny_config):
    semantic_only(tiny_config)
    options = ["SOLVER.MAX_ITER", "1", "DATASETS.TEST", "()", "MODEL.BACKBONE.FREEZE_AT", "2"]
    with pytest.raises(SystemExit, match=r"MODEL\.WEIGHTS is empty: .*bottom_up\.res2.*`MODEL\.BACKBONE\.FREEZE_AT 0`"):
        run(arguments(tiny_config, *options))
    run(arguments(tiny_config, "--set-aside", *options, "MODEL.BACKBONE.FREEZE_AT", "0"))  # as the hint says
    run(arguments(tiny_config, "--set-aside", *options, "MODEL.UNIFIED.ALLOW_RANDOM_FROZEN", "True"))
