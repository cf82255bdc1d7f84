"""Trainings on data with semantic labels alone, in the official layouts of ADE20K and PASCAL VOC."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from unified_seg.data.datasets.ade20k import register_ade20k
from unified_seg.data.datasets.voc import register_voc
from unified_seg.training.run import run

pytestmark = pytest.mark.end_to_end

NAMES = ["2007_000001", "2007_000002"]


def write_pair(image, label, top, bottom):
    """A gray picture whose lower half is lighter; its label has one class above and another below."""
    ids = np.full((64, 96), top, np.uint8)
    ids[32:] = bottom
    ids[:, :4] = 255
    for file, array in ((image, np.where(ids == bottom, 200, 60)[..., None].repeat(3, axis=2)), (label, ids)):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array.astype(np.uint8)).save(file)


def ade20k(root):
    for split, folder in (("train", "training"), ("val", "validation")):
        for name in NAMES:
            labels = root / "annotations_detectron2" / folder
            write_pair(root / "images" / folder / f"{name}.jpg", labels / f"{name}.png", 2, 149)
        register_ade20k(f"unified_test_{split}", root, split)


def voc(root):
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for name, folder in zip(NAMES, ("SegmentationClass", "SegmentationClassAug")):
        write_pair(root / "JPEGImages" / f"{name}.jpg", root / folder / f"{name}.png", 0, 20)
    for split, name, registered in (("trainaug", NAMES[1], "train"), ("val", NAMES[0], "val")):
        (lists / f"{split}.txt").write_text(f"{name}\n")
        register_voc(f"unified_test_{registered}", root, split)


@pytest.fixture
def semantic_config(tiny_config):
    """A semantic model with SyncBN in its backbone and its head, as PSPNet's configs have, on one CPU process."""
    tiny_config.MODEL.PROPOSAL_GENERATOR.NAME = tiny_config.MODEL.ROI_HEADS.NAME = ""
    tiny_config.MODEL.PANOPTIC_FUSION.NAME = ""
    tiny_config.MODEL.MASK_ON = False
    tiny_config.MODEL.RESNETS.NORM = tiny_config.MODEL.SEM_SEG_HEAD.NORM = "SyncBN"
    tiny_config.SOLVER.NEW_LAYERS_LR_FACTOR = 10.0
    tiny_config.SOLVER.MAX_ITER = 2
    tiny_config.DATASETS.TRAIN, tiny_config.DATASETS.TEST = ("unified_test_train",), ("unified_test_val",)
    yield tiny_config
    for name in ("unified_test_train", "unified_test_val"):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def command_line(cfg):
    path = Path(cfg.OUTPUT_DIR).parent / "run.yaml"
    path.write_text(cfg.dump())
    return ["--config-file", str(path)]


@pytest.mark.parametrize(("write", "classes"), [(ade20k, 150), (voc, 21)])
def test_semantic_data_trains_and_is_evaluated(write, classes, semantic_config, tmp_path):
    write(tmp_path / "data")
    results = run(command_line(semantic_config))
    assert results.keys() == {"sem_seg"}
    assert 0 <= results["sem_seg"]["mIoU"] <= 100
    weights = torch.load(Path(semantic_config.OUTPUT_DIR) / "model_final.pth", weights_only=True)["model"]
    assert weights["sem_seg_head.classifier.weight"].shape[0] == classes
    assert weights["backbone.bottom_up.stem.conv1.norm.num_batches_tracked"] == 2  # SyncBN was trained


def test_training_starts_from_weights_of_torchvision(semantic_config, tmp_path):
    voc(tmp_path / "data")
    net = torchvision.models.resnet18(weights=None)
    torch.save(net.state_dict(), tmp_path / "resnet18.pth")
    semantic_config.MODEL.WEIGHTS = str(tmp_path / "resnet18.pth")
    resnet = semantic_config.MODEL.RESNETS
    resnet.DEPTH, resnet.STEM_OUT_CHANNELS, resnet.RES2_OUT_CHANNELS = 18, 64, 64
    semantic_config.SOLVER.BASE_LR = 1e-9
    run(command_line(semantic_config))
    weights = torch.load(Path(semantic_config.OUTPUT_DIR) / "model_final.pth", weights_only=True)["model"]
    stem = weights["backbone.bottom_up.stem.conv1.weight"]
    torch.testing.assert_close(stem, net.conv1.weight.detach(), atol=1e-7, rtol=1e-5)
