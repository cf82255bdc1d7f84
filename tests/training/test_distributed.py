"""Two processes over gloo on the CPU, with the environment in which torchrun starts them."""

import json
from pathlib import Path

import numpy as np
import pytest
import record_losses
import torch.distributed.run
from detectron2.data import MetadataCatalog
from example_heads import remove_outside_keys
from processes import run_ranks, run_script

from unified_seg.structures.class_table import ClassTable
from unified_seg_cli.train_net import parse_args

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).parents[2]


# What torchrun tells each process; run_ranks does the same, without importing PyTorch anew in each.
TOLD_BY_TORCHRUN = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"]
TOLD_BY_TORCHRUN += ["MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"]


def test_ranks_are_told_what_torchrun_tells(tmp_path):
    script = tmp_path / "write_environment.py"
    script.write_text(
        "import json, os, pathlib, sys\n"
        f"told = {{name: os.environ.get(name) for name in {TOLD_BY_TORCHRUN}}}\n"
        "pathlib.Path(sys.argv[1], f'{sys.argv[2]}_{told[\"RANK\"]}.json').write_text(json.dumps(told))\n"
    )
    options = ["--standalone", "--nproc-per-node", 2]
    done = run_script(torch.distributed.run.__file__, *options, script, tmp_path, "torchrun")
    assert done.returncode == 0, done.stderr
    run_ranks(2, script, tmp_path, "run_ranks", env={})
    changing = {"MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"}
    for rank in range(2):
        torchrun, ours = (
            json.loads((tmp_path / f"{name}_{rank}.json").read_text()) for name in ("torchrun", "run_ranks")
        )
        assert None not in torchrun.values() and None not in ours.values()
        assert {k: torchrun[k] for k in torchrun.keys() - changing} == {k: ours[k] for k in ours.keys() - changing}


@pytest.fixture
def config_file(tiny_config, tiny_dataset, tmp_path):
    """The tiny config for other processes, which know the hand-drawn data set under a registered name."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "toyscapes").symlink_to(tiny_dataset.root)
    tiny_config.DATASETS.TRAIN, tiny_config.DATASETS.TEST = ("unified_toyscapes_train",), ("unified_toyscapes_val",)
    tiny_config.SEED = 3
    tiny_config.SOLVER.IMS_PER_BATCH = 4
    path = tmp_path / "config.yaml"

    def write():
        path.write_text(remove_outside_keys(tiny_config.clone()).dump())
        return path

    return write


def test_two_processes_that_split_their_batches_have_the_losses_of_one(
    config_file, tiny_config, tiny_dataset, tmp_path
):
    # Semantic only, no augmentation, GN: nothing but the split of the batch differs. The four training images have
    # different shares of ignored pixels, so averaging within each process first would give other losses: of PSP's own
    # logits the one weighted by confusion, of its auxiliary ones cross-entropy.
    head = tiny_config.MODEL.SEM_SEG_HEAD
    head.NAME, head.NORM, head.PSP.AUX_FEATURE, head.PSP.AUX_CONVS_DIM = "PSPHead", "GN", "p4", 32
    head.PSP.DROPOUT = 0.0
    head.CONFUSION_LOSS.MATRIX = str(tmp_path / "confusion.npz")
    names = ClassTable.from_metadata(MetadataCatalog.get("unified_toyscapes_train")).semantic_names
    confusion = np.random.default_rng(0).random((len(names), len(names)))
    np.savez(head.CONFUSION_LOSS.MATRIX, confusion=confusion, class_names=names)
    tiny_config.MODEL.PROPOSAL_GENERATOR.NAME = tiny_config.MODEL.ROI_HEADS.NAME = ""
    tiny_config.MODEL.PANOPTIC_FUSION.NAME = ""
    tiny_config.MODEL.MASK_ON = False
    tiny_config.MODEL.RESNETS.NORM = "GN"
    tiny_config.MODEL.RESNETS.WIDTH_PER_GROUP = tiny_config.MODEL.RESNETS.STEM_OUT_CHANNELS = 32  # GN's groups
    tiny_config.INPUT.MIN_SIZE_TRAIN = (64,)
    tiny_config.INPUT.MIN_SIZE_TRAIN_SAMPLING = "choice"
    tiny_config.INPUT.RANDOM_FLIP = "none"
    tiny_config.SOLVER.MAX_ITER = 6
    tiny_config.SOLVER.WARMUP_ITERS = 0
    # Adam's first steps are signs of gradients: it would blow up the rounding of the two sums;
    # so, more slowly, does any large rate.
    tiny_config.SOLVER.OPTIMIZER, tiny_config.SOLVER.BASE_LR = "SGD", 0.001
    tiny_config.DATASETS.TEST = ()
    ranks = run_ranks(
        2,
        record_losses.__file__,
        "--config-file",
        config_file(),
        *("OUTPUT_DIR", tmp_path / "two", "SOLVER.ACCUMULATION_STEPS", 2),
        env={"DETECTRON2_DATASETS": str(tmp_path / "datasets")},
    )
    assert [rank.returncode for rank in ranks] == [0, 0], ranks
    tiny_config.DATASETS.TRAIN = (tiny_dataset.train,)  # its name in this process
    command = ["--config-file", str(config_file()), "OUTPUT_DIR", str(tmp_path / "one")]
    record_losses.main(parse_args(command))
    one, two = (json.loads((tmp_path / name / "losses.json").read_text()) for name in ("one", "two"))
    assert (one["world_size"], two["world_size"]) == (1, 2)
    assert len(two["losses"]) == 6 and two["losses"][-1] < two["losses"][0]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)


def test_a_head_may_leave_levels_of_the_fpn_unread(config_file, tiny_config, tmp_path):
    # The convolutions of the unread levels have no gradients, which DistributedDataParallel takes for an error.
    tiny_config.MODEL.SEM_SEG_HEAD.NAME, tiny_config.MODEL.SEM_SEG_HEAD.IN_FEATURES = "SemSegFPNHead", ["p2", "p3"]
    tiny_config.MODEL.PROPOSAL_GENERATOR.NAME = tiny_config.MODEL.ROI_HEADS.NAME = ""
    tiny_config.MODEL.PANOPTIC_FUSION.NAME = ""
    tiny_config.MODEL.MASK_ON = False
    tiny_config.SOLVER.MAX_ITER = 3
    tiny_config.DATASETS.TEST = ()
    environment = {"DETECTRON2_DATASETS": str(tmp_path / "datasets")}
    options = ["OUTPUT_DIR", tmp_path / "out"]
    ranks = run_ranks(2, ROOT / "tools/train_net.py", "--config-file", config_file(), *options, env=environment)
    assert [rank.returncode for rank in ranks] == [0, 0], ranks
    assert (tmp_path / "out" / "model_final.pth").is_file()


def test_full_model_evaluates_each_image_once(config_file, tiny_config, tmp_path):
    overrides = ["OUTPUT_DIR", tmp_path / "out", "SOLVER.MAX_ITER", 1]
    environment = {"DETECTRON2_DATASETS": str(tmp_path / "datasets")}
    ranks = run_ranks(2, ROOT / "tools/train_net.py", "--config-file", config_file(), *overrides, env=environment)
    assert [rank.returncode for rank in ranks] == [0, 0], ranks
    content = json.loads((tmp_path / "out" / "inference" / "results.json").read_text())
    assert {"sem_seg", "segm", "panoptic_seg"} <= set(content["results"]["unified_toyscapes_val"])

    with np.load(tmp_path / "out" / "inference" / "unified_toyscapes_val" / "sem_seg.npz") as counts:
        assert sorted(counts["image_ids"]) == ["alpha_000000_000019", "alpha_000001_000019"]
