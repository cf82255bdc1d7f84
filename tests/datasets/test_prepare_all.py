"""What holds of every datasets/prepare_*.py: from the official archives to a training, once, and on after a break."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.config import CfgNode
from model_parts import without_detector
from processes import run_script

from unified_seg.data.validation.checks import check_datasets
from unified_seg.training.run import run

NAMES = ("cityscapes", "coco_panoptic", "ade20k", "voc2012", "coco_stuff10k", "pascal_context")
NAMES += ("camvid", "nuclei", "cropweed")
every_data_set = pytest.mark.parametrize("name", NAMES)


@every_data_set
def test_a_second_run_has_nothing_to_do(
    name: str, prepared: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepared(name)
    data.run()
    before = data.files()
    assert set(data.download.outputs) < before.keys() and not [file for file in before if file.endswith(".tmp")]
    assert f"{data.root}: ready, " in capsys.readouterr().out
    data.run()
    assert data.files() == before
    assert "nothing to do" in capsys.readouterr().out


@every_data_set
def test_only_missing_files_are_written(name: str, prepared: Callable[..., Any]) -> None:
    data = prepared(name)
    data.run()
    before = data.files()
    contents = {output: (data.root / output).read_bytes() for output in data.download.outputs}
    for output in data.download.outputs:
        (data.root / output).unlink()
        temporary = f".{Path(output).name}.0123456789abcdef.tmp"  # as if killed before it was renamed
        (data.root / output).with_name(temporary).write_bytes(b"half")
    data.run()
    after = {file: content for file, content in data.files().items() if not file.endswith(".tmp")}
    assert after.keys() == before.keys()
    assert {file for file in after if after[file] != before[file]} <= set(data.download.outputs)
    assert contents == {output: (data.root / output).read_bytes() for output in data.download.outputs}


@every_data_set
def test_missing_archives_are_named_with_their_source(name: str, prepared: Callable[..., Any]) -> None:
    data = prepared(name)
    first = next(iter(data.download.archives))
    (data.root / first).unlink()
    with pytest.raises(SystemExit, match=rf"^\w*Error: .*{first}"):
        data.run()


@every_data_set
def test_wrong_numbers_are_named(
    name: str, prepared: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = prepared(name)
    monkeypatch.setitem(data.module.IMAGES, "train", 1234)
    number = data.download.counts["train"]
    with pytest.raises(
        SystemExit, match=rf"^DataError: .*not the official numbers.*: train.* {number} of 1,234;"
    ) as error:
        data.run()
    assert "--allow-subset" in str(error.value)
    data.run("--allow-subset")
    assert f"{number} of 1,234; " in caplog.text
    assert set(data.download.outputs) < data.files().keys()


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", ["ade20k", "cityscapes"])
def test_several_processes_write_the_same(name: str, prepared: Callable[..., Any], tmp_path: Path) -> None:
    data = prepared(name)
    data.run()
    parallel = data.download.put(tmp_path / "parallel")
    data.module.main(["--root", str(parallel), "--workers", "2"])
    for file in data.files().keys() - data.download.archives.keys():
        assert (parallel / file).read_bytes() == (data.root / file).read_bytes(), file


@pytest.mark.end_to_end
def test_it_is_a_command(prepared: Callable[..., Any], tmp_path: Path) -> None:
    data = prepared("coco_stuff10k")
    root = data.download.put(tmp_path / "coco/coco_stuff_10k")
    environment = {"DETECTRON2_DATASETS": str(tmp_path)}
    result = run_script(data.module.__file__, "--workers", "2", "--allow-subset", env=environment)
    assert "train images with labels: 2 of 9,000" in result.stderr
    assert result.stdout == f"{root}: ready, 14 files written\n"
    assert len(list(root.glob("annotations_detectron2/*/*.png"))) == 3


@pytest.mark.end_to_end
@every_data_set
def test_it_trains_and_is_scored(
    name: str, prepared: Callable[..., Any], registered: Callable[..., tuple[str, str]], tiny_config: CfgNode
) -> None:
    data = prepared(name)
    data.run()
    train, val = registered(data)
    cfg = tiny_config
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (train,), (val,)
    cfg.SOLVER.MAX_ITER = 2
    cfg.TEST.EVAL_PERIOD = 0
    if not data.download.instances:
        without_detector(cfg)
    check_datasets(cfg)
    path = Path(cfg.OUTPUT_DIR).parent / "run.yaml"
    path.write_text(cfg.dump())
    results = run(["--config-file", str(path)])
    assert 0 <= results["sem_seg"]["mIoU"] <= 100
    assert not data.download.instances or np.isfinite(results["panoptic_seg"]["PQ"])
