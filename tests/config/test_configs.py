"""Every config file of the repository loads and, if it names data sets, builds its model."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from example_heads import import_example_heads
from torch import nn

from unified_seg.config import CfgNode, load_config
from unified_seg.data.pipeline.input_augmentation import build_augmentations
from unified_seg.data.resolve import resolve_config, resolve_stages
from unified_seg.meta_arch import UnifiedSegmentor
from unified_seg.reporting.ablation.plan import read_plan
from unified_seg.reporting.ablation.runs import plan_runs
from unified_seg.training.optimizer import build_lr_scheduler, build_optimizer
from unified_seg.training.step import get_autocast_dtype

import_example_heads()

ROOT = Path(__file__).parents[2]
FRAGMENTS = sorted((ROOT / "configs/base").glob("*.yaml"))
ABLATIONS = sorted(ROOT.glob("projects/**/ablation.yaml"))
MODELS = sorted({*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("projects/*/configs/**/*.yaml")} - {*FRAGMENTS})


def get_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FRAGMENTS, ids=get_name)
def test_fragments_load(path: Path) -> None:
    assert load_config(path) != load_config("")


@pytest.mark.parametrize("path", MODELS, ids=get_name)
def test_models_build(path: Path) -> None:
    # No weights are downloaded.
    cfg = load_config(path, ["MODEL.DEVICE", "meta", "MODEL.TIMM.PRETRAINED", "False"])
    assert cfg.DATASETS.TRAIN and cfg.DATASETS.TEST
    for each in [stage.config for stage in resolve_stages(cfg)] or [resolve_config(cfg)]:
        check_model(each)
    build_augmentations(cfg, is_train=True)
    get_autocast_dtype(load_config(path))


@pytest.fixture(autouse=True)
def no_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights on the meta device have no values, but PyTorch takes its time to draw them."""
    for name in ("kaiming_normal_", "kaiming_uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


def check_model(cfg: CfgNode) -> None:
    # On the meta device large models are built as fast as small ones.
    with torch.device("meta"):
        model = build_model(cfg)
    assert isinstance(model, UnifiedSegmentor)
    if model.sem_seg_head is not None:
        assert model.sem_seg_head.num_classes == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == model.class_table.num_semantic
    if model.roi_heads is not None:
        assert model.roi_heads.num_classes == model.class_table.num_things
    build_lr_scheduler(cfg, build_optimizer(cfg, nn.Linear(2, 2)))


def test_no_config_sets_the_number_of_classes() -> None:
    # It follows from the metadata of the data set.
    assert not [get_name(file) for file in (*MODELS, *FRAGMENTS) if "NUM_CLASSES" in file.read_text(encoding="utf-8")]


@pytest.mark.end_to_end
@pytest.mark.parametrize("file", ABLATIONS, ids=get_name)
def test_rows_of_ablations_build(file: Path) -> None:
    plan, built = read_plan(file, ROOT), set()
    for run in plan_runs(plan, plan.rows, plan.seeds[:1], ROOT / "output", ROOT, "meta"):
        cfg = resolve_config(load_config(ROOT / run.row.config, [*run.overrides, "MODEL.WEIGHTS", ""]))
        build_augmentations(cfg, is_train=True)
        # Many rows differ only in their training.
        if (model_keys := f"{cfg.MODEL} {cfg.SOLVER.TRAIN_PARTS}") not in built:
            built.add(model_keys)
            with torch.device("meta"):
                assert isinstance(build_model(cfg), UnifiedSegmentor)


def test_every_run_has_its_own_output_folder() -> None:
    folders = [load_config(path).OUTPUT_DIR for path in MODELS]
    assert len(set(folders)) == len(folders)
