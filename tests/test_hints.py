"""Hints in messages can be typed as they stand: each is triggered, read from the message and run here.

A hint is made by `format_hint`. Whoever adds one adds its message to `MESSAGES`, or, if it names a command that is not
run in tests, to `COMMANDS`.
"""

import ast
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from example_heads import remove_outside_keys

from unified_seg.config import check_overrides, load_config, read_stages
from unified_seg.data.resolve import resolve_config
from unified_seg.errors import UserError
from unified_seg.inference.views import ViewRule
from unified_seg.meta_arch import build_model
from unified_seg.training.run import parse_args
from unified_seg.training.step import get_autocast_dtype

ROOT = Path(__file__).parent.parent
FOLDERS = ("unified_seg", "tools", "datasets", "projects")

#: Where commands are named that need a network, root rights or the archives of data sets. The scripts exist.
COMMANDS = {
    "unified_seg/checkpoint/downloads.py:WITHOUT_WEIGHTS",
    "unified_seg/commands/convert_dataset.py:run_labelme_panoptic",
    "unified_seg/training/console/progress.py:show_next_step",
    "datasets/prepare_cityscapes.py:check_scripts",
    "unified_seg/backbones/timm_network.py:__init__",
    "unified_seg/checkpoint/pypi_weights.py:_explain",
    "unified_seg/data/datasets/ade20k.py:HOW_TO_GET",
    "unified_seg/data/datasets/cityscapes.py:PREPARE",
    "unified_seg/data/datasets/cityscapes.py:_describe_preparation",
    "unified_seg/data/datasets/coco_panoptic_2017.py:HOW_TO_GET",
    "unified_seg/data/datasets/coco_stuff.py:HOW_TO_GET",
    "unified_seg/data/datasets/pascal_context.py:HOW_TO_GET",
    "unified_seg/data/datasets/small/camvid.py:HOW_TO_GET",
    "unified_seg/data/datasets/small/cropweed.py:HOW_TO_GET",
    "unified_seg/data/datasets/small/nuclei.py:HOW_TO_GET",
    "unified_seg/data/datasets/voc.py:HOW_TO_GET",
    "unified_seg/data/preparation/matlab.py:read_mat73",
    "unified_seg/training/launch.py:launch",
    "unified_seg/visualization/fonts.py:_report_absent",
}
#: Where the tests of the module run the hints.
TESTED_ELSEWHERE = {
    "unified_seg/checkpoint/checkpointer.py:load": "tests/training/test_trainer.py",
    "unified_seg/config/reading.py:_hint_at_config": "tests/config/test_locate.py",
    "unified_seg/config/reading.py:merge_overrides": "tests/config/test_reading.py",
    "unified_seg/training/resume.py:check_resume": "tests/training/test_resume.py",
    "unified_seg/training/resume.py:_late_change_error": "tests/training/test_resume.py",
    "unified_seg/training/resume.py:_hint_at_former_value": "tests/training/test_resume.py",
    "unified_seg/training/resume.py:_hint_at_other_folder": "tests/training/test_resume.py",
    "unified_seg/ops/windows.py:_suggest_sizes": "above, by __post_init__",
    "unified_seg/meta_arch/unified_segmentor.py:from_config": "above, by __init__",
    "unified_seg/training/lifecycle/identity.py:check_unused": "tests/training/lifecycle/test_identity.py",
    "unified_seg/training/lifecycle/lock.py:lock_folder": "tests/training/lifecycle/test_lock.py",
    "unified_seg/training/learning_rate/command.py:run": "tests/training/learning_rate/test_range_test.py",
    "unified_seg/training/lifecycle/loop.py:_raise_for_user": "tests/training/lifecycle/test_divergence.py",
    "unified_seg/training/trainer.py:load_state_dict": "tests/training/test_trainer.py",
    "unified_seg/data/preparation/command.py:check_counts": "tests/datasets/test_prepare_all.py",
    "unified_seg/data/io/image_files.py:_check_channels": "tests/data/io/test_samples.py",
    "unified_seg/data/io/image_files.py:_find_range": "tests/data/io/test_samples.py",
    "unified_seg/data/io/open_image.py:describe_pixels": "tests/data/io/test_samples.py",
    "unified_seg/evaluation/instances/evaluator.py:_warn_of_more_objects": "tests/evaluation/test_independent.py",
    "unified_seg/reporting/ablation/results/published.py:check_kept": "tests/commands/test_ablate.py",
}


def find_hints() -> set[str]:
    """Return file:function, or file:constant, of each call of `format_hint`."""
    found = set()

    def visit(node: ast.AST, file: str, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                inner = child.name
            elif (
                isinstance(child, ast.Assign)
                and isinstance(node, ast.Module)
                and isinstance(child.targets[0], ast.Name)
            ):
                inner = child.targets[0].id
            if isinstance(child, ast.Name) and child.id == "format_hint":
                found.add(f"{file}:{name}")
            visit(child, file, inner)

    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            visit(ast.parse(file.read_text(encoding="utf-8")), file.relative_to(ROOT).as_posix(), "")
    return found


def build(cfg: CfgNode, *overrides: Any) -> Any:
    """Build a model of the hand-drawn data set with these overrides."""
    return build_model(resolve_config(change(cfg, *overrides)))


def change(cfg: CfgNode, *overrides: Any) -> CfgNode:
    path = Path(cfg.OUTPUT_DIR).parent / "run.yaml"
    path.write_text(remove_outside_keys(cfg.clone()).dump())
    return load_config(path, [word if isinstance(word, str) else repr(word) for word in overrides])


def make_views(cfg: CfgNode, *overrides: Any) -> ViewRule:
    aug = change(cfg, *overrides).TEST.AUG
    return ViewRule(scales=aug.SCALES, min_sizes=aug.MIN_SIZES, max_size=aug.MAX_SIZE)


def stages_of(cfg: CfgNode, *overrides: str) -> list[Any]:
    return read_stages(load_config("", parse_args(overrides).opts))


def load_checked(cfg: CfgNode, *overrides: str) -> Any:
    loaded = load_config("", overrides)
    return check_overrides(loaded, overrides, [str(name) for name in loaded.SOLVER.STAGES])


def autocast(cfg: CfgNode, *overrides: str) -> Any:
    return get_autocast_dtype(change(cfg, *overrides))


DILATED = ["MODEL.BACKBONE.NAME", "build_dilated_resnet_backbone", "MODEL.RESNETS.OUT_FEATURES", "['res4', 'res5']"]
DILATED += ["MODEL.SEM_SEG_HEAD.NAME", "PSPHead", "MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res5']"]
DILATED += ["MODEL.SEM_SEG_HEAD.COMMON_STRIDE", "16", "MODEL.PROPOSAL_GENERATOR.NAME", "", "MODEL.ROI_HEADS.NAME", ""]
DILATED += ["MODEL.MASK_ON", "False", "MODEL.PANOPTIC_FUSION.NAME", "", "MODEL.SEM_SEG_HEAD.PSP.AUX_FEATURE", "res4"]
PYRAMID = ["MODEL.SEM_SEG_HEAD.NAME", "PyramidalOutputHead"]
STAGED = ["SOLVER.STAGES", "['a', 'b']", "STAGES.a.SEED", "1"]
PART = "unified_seg/meta_arch/unified_segmentor.py"

#: Where a hint is made; what reads the words and must accept them with the hint; the words of the message.
# ruff: noqa: E501
MESSAGES: list[tuple[str, Callable[..., Any], list[str]]] = [
    ("unified_seg/config/reading.py:_check_words", load_checked, ["SEED=1"]),
    ("unified_seg/config/reading.py:_check_key", load_checked, ["SOLVER.BASE_RL", "0.1"]),
    ("unified_seg/config/reading.py:_check_key", load_checked, ["solver.base_lr", "0.1"]),
    ("unified_seg/config/overrides.py:_check_stage", load_checked, [*STAGED, "STAGES.b.SEED", "1", "STAGES.aa.SEED", "2"]),
    ("unified_seg/training/step.py:get_autocast_dtype", autocast, ["SOLVER.AMP.ENABLED", "True"]),
    (f"{PART}:__init__", build, ["MODEL.ROI_HEADS.NAME", ""]),
    (f"{PART}:__init__", build, ["MODEL.MASK_ON", "False"]),
    ("unified_seg/ops/windows.py:__post_init__", build, ["TEST.WINDOW.SIZE", "5"]),
    ("unified_seg/ops/windows.py:__post_init__", build, ["TEST.WINDOW.SIZE", "100"]),
    ("unified_seg/ops/windows.py:__post_init__", build, ["TEST.WINDOW.SIZE", "64", "TEST.WINDOW.OVERLAP", "0.9"]),
    ("unified_seg/backbones/dilated_resnet.py:build_dilated_resnet_backbone", build, [*DILATED, "MODEL.RESNETS.RES5_DILATION", "2"]),
    ("unified_seg/backbones/frozen_statistics.py:freeze_bn_statistics", build, ["MODEL.BACKBONE.FREEZE_BN_STATISTICS", "True", "MODEL.RESNETS.NORM", ""]),
    ("unified_seg/heads/pyramidal_output/head.py:__init__", build, [*PYRAMID, "MODEL.SEM_SEG_HEAD.PYRAMID.OUTPUT", "single", "MODEL.SEM_SEG_HEAD.PYRAMID.CONTEXT", "anl_multi"]),
    ("unified_seg/config/stages.py:read_stages", stages_of, [*STAGED, "STAGES.a.RESULT", "a.pth", "SOLVER.STAGES", "['a']"]),
    ("unified_seg/inference/views.py:__init__", make_views, ["TEST.AUG.MIN_SIZES", "()"]),
    ("unified_seg/meta_arch/freezing.py:_check_paths", build, ["SOLVER.TRAIN_PARTS", "['sem_seg_haed']"]),
    ("unified_seg/data/io/image_reader.py:from_config", build, ["INPUT.FORMAT", "L"]),
    ("unified_seg/data/datasets/registration.py:check_registered", build, ["DATASETS.TEST", "['unified_test_streets_va']"]),
]  # fmt: skip


@pytest.mark.parametrize(("place", "read", "words"), MESSAGES)
def test_hint_of_a_message_works(place: str, read: Callable[..., Any], words: list[str], tiny_config: CfgNode) -> None:
    with pytest.raises((UserError, ValueError)) as error:
        read(tiny_config, *words)
    hints = [shlex.split(hint) for hint in re.findall("`([^`]+)`", str(error.value))]
    assert hints, str(error.value)
    for hint in hints:
        read(tiny_config, *apply(words, hint))


def apply(words: list[str], hint: list[str]) -> list[str]:
    """Return the words as a user changes them: pairs are added, one word takes the place of another."""
    if len(words) % 2:
        return hint
    if hint[0].startswith("--"):
        return [hint[0], *words, *hint[1:]]
    if len(hint) > 1:
        return [*words, *hint]
    if re.match(r"[A-Z]+\.", hint[0]):
        return [*words[:-2], hint[0], words[-1]]
    return [*words[:-1], repr([hint[0]])]


#: Hints that fit no case above: what is typed, and the tool that has the option or reads the keys.
TYPED = [
    (
        "unified_seg/data/conversion/colors_to_ids.py:_describe_unknown_color",
        "--unknown",
        "unified_seg_cli/commands/convert_dataset.py",
    ),
    (
        "unified_seg/data/conversion/labelme_shapes.py:_check_points",
        "--skip-shapes",
        "unified_seg_cli/commands/convert_dataset.py",
    ),
    ("unified_seg/data/io/parallel.py:map_in_parallel", "--workers", "unified_seg_cli/parser.py"),
    ("unified_seg/evaluation/instances/objects.py:_from_annotation", "MODEL.PANOPTIC_FUSION.NAME", ""),
    ("unified_seg/evaluation/model_outputs.py:read_instances", "MODEL.PANOPTIC_FUSION.NAME", ""),
    ("unified_seg/meta_arch/build.py:check_device", "MODEL.DEVICE", ""),
]


@pytest.mark.parametrize(("place", "word", "tool"), TYPED)
def test_option_or_key_of_a_hint_exists(place: str, word: str, tool: str) -> None:
    assert f'"{word}"' in (ROOT / place.partition(":")[0]).read_text(encoding="utf-8").replace("'", '"')
    if tool:
        assert f'"{word}"' in (ROOT / tool).read_text(encoding="utf-8")
    else:
        load_config("", [word, ""])


@pytest.mark.parametrize("place", sorted(COMMANDS))
def test_scripts_of_hints_exist(place: str) -> None:
    text = (ROOT / place.partition(":")[0]).read_text(encoding="utf-8")
    for script in re.findall(r"""["']((?:tools|datasets)/\w+\.py)["']""", text):
        assert (ROOT / script).is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_hint_at_the_cpu_works(tiny_config: CfgNode) -> None:
    with pytest.raises(UserError, match=r"`MODEL\.DEVICE cpu`"):
        build(tiny_config, "MODEL.DEVICE", "cuda")
    build(tiny_config, "MODEL.DEVICE", "cuda", "MODEL.DEVICE", "cpu")


def test_every_hint_is_run() -> None:
    tested = {place for place, _, _ in [*MESSAGES, *TYPED]} | COMMANDS | TESTED_ELSEWHERE.keys()
    assert find_hints() - tested == set()
