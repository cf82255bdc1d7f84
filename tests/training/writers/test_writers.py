"""SOLVER.WRITERS with the real packages, on local files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage, EventWriter

from unified_seg import get_config
from unified_seg.config import ConfigError
from unified_seg.training.writers import build_writers, check_writers

RUN = "0123456789abcdef"


@pytest.fixture
def config(tmp_path: Path) -> CfgNode:
    cfg = get_config()
    cfg.OUTPUT_DIR = str(tmp_path / "my run")
    Path(cfg.OUTPUT_DIR).mkdir()
    return cfg


def write(writers: list[EventWriter], losses: dict[int, float]) -> None:
    """Write the losses by iteration, with a picture in the last one."""
    with EventStorage(min(losses)) as storage:
        for iteration, loss in losses.items():
            storage.iter = iteration
            storage.put_scalar("total_loss", loss, smoothing_hint=False)
            storage.put_scalar("sem_seg/IoU-traffic light: 木", 50.0, smoothing_hint=False)
            if iteration == max(losses):
                storage.put_image("samples/0", torch.zeros(3, 4, 5, dtype=torch.uint8))
            for writer in writers:
                writer.write()
        assert not storage._vis_data  # not kept for ever
    for writer in writers:
        writer.close()


def build(cfg: CfgNode, *names: str) -> list[EventWriter]:
    cfg.SOLVER.WRITERS = list(names)
    check_writers(cfg)
    return build_writers(cfg, RUN)


@pytest.mark.end_to_end
def test_mlflow_has_the_curve_of_a_run_and_of_its_resumed_part(
    config: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    write(build(config, "mlflow"), {19: 3.0, 39: 2.0})
    write(build(config, "mlflow"), {59: 1.0})
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("unified_seg").experiment_id])
    assert run.info.run_name == "my run" and run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "total_loss")
    assert [(point.step, point.value) for point in history] == [(19, 3.0), (39, 2.0), (59, 1.0)]
    assert run.data.metrics["sem_seg/IoU-traffic light_ _"] == 50.0
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["config.yaml"]


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    wandb = pytest.importorskip("wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    yield wandb
    wandb.teardown()


@pytest.mark.end_to_end
def test_wandb_writes_the_curve_and_pictures(config: CfgNode, offline: Any) -> None:
    writers = build(config, "wandb")
    write(writers, {19: 3.0, 39: 2.0})
    (folder,) = Path(config.OUTPUT_DIR).glob("wandb/offline-run-*")
    assert folder.name.endswith(f"{RUN}-my_run") and list(folder.glob("*.wandb"))
    assert list(folder.glob("files/media/images/samples/0_*.png"))


def test_tensorboard_is_the_default_and_can_be_left_out(config: CfgNode) -> None:
    write(build_writers(config, RUN), {19: 1.0})
    assert len(list(Path(config.OUTPUT_DIR).glob("events.out.tfevents.*"))) == 1
    write(build(config), {19: 1.0})
    assert len(list(Path(config.OUTPUT_DIR).iterdir())) == 1


def test_unknown_and_absent_writers_are_errors(config: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"SOLVER\.WRITERS: .*'comet'.*wandb"):
        build(config, "comet")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"SOLVER\.WRITERS: .*pip install mlflow"):
        build(config, "mlflow")
