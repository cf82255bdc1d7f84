"""tools/analyze_model.py: counts that can be derived by hand, and the whole tool on a small model."""

import re
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from random_model import write_result_of_training
from torch import nn

from unified_seg.commands import analyze_model
from unified_seg.data.datasets.cityscapes import build_cityscapes_table
from unified_seg.data.problems import DataError
from unified_seg_cli.commands.analyze_model import main

pytestmark = pytest.mark.end_to_end


class TwoParts(nn.Module):
    """A model of Detectron2's kind whose costs are plain: a 3x3 convolution, a linear layer, one multiplication."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.head = nn.Linear(4, 5)
        self.head.bias.requires_grad = False
        self.loss = nn.CrossEntropyLoss()  # without parameters: not a part

    def forward(self, batch):
        features = self.backbone(batch[0]["image"].float()[None])
        scores = self.head(features.mean(dim=(2, 3)))
        instances = Instances((8, 8), pred_boxes=Boxes(torch.zeros(1, 4)), scores=scores[:, 0])
        return [{"instances": instances, "similarity": scores @ scores.T, "panoptic_seg": (features[0, 0].int(), [])}]


def test_parts_are_counted_by_hand():
    # Convolution: 8 * 8 pixels * 4 outputs * 27 inputs = 6912; linear 4 * 5 = 20; the product 5, in no part.
    # Activations (outputs of convolutions and products): 8 * 8 * 4 = 256, 5, 1.
    images = [torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(3, 16, 8, dtype=torch.uint8)]
    flops = analyze_model.count_by_module(TwoParts(), images, analyze_model.FlopCountAnalysis, 2)
    assert flops.tolist() == [[6912, 20, 6912 + 20 + 5], [2 * 6912, 20, 2 * 6912 + 20 + 5]]
    activations = analyze_model.count_by_module(TwoParts(), images[:1], analyze_model.ActivationCountAnalysis, 1)
    assert activations.tolist() == [[256, 5, 256 + 5 + 1]]


def test_cost_table_shows_means_and_the_rest():
    table = analyze_model.cost_table(TwoParts(), np.array([[60.0, 20, 100], [80.0, 20, 120]]), 10.0, "tens")
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()[2:]}
    assert rows["backbone"] == ["7.000", "1.000", "63.6"]
    assert rows["rest"] == ["2.000", "0.000", "18.2"]
    assert rows["all"] == ["11.000", "1.000", "100.0"]


def test_parameters_are_counted_by_hand():
    # 4 * 3 * 9 = 108 and 4 * 5 + 5 = 25, of which the bias is not trained.
    rows = {line.split()[0]: line.split()[1:] for line in analyze_model.parameter_table(TwoParts()).splitlines()[2:]}
    assert rows == {"backbone": ["108", "108", "81.2"], "head": ["25", "20", "18.8"], "all": ["133", "128", "100.0"]}


@pytest.mark.parametrize("channels", [3, 1])
def test_random_images_are_of_the_test_size_and_always_the_same(channels):
    source = SimpleNamespace(MIN_SIZE_TEST=20, MAX_SIZE_TEST=33)
    cfg = SimpleNamespace(INPUT=source, MODEL=SimpleNamespace(PIXEL_MEAN=[1.0] * channels))
    first, second = (list(analyze_model.random_images(cfg, 2)) for _ in range(2))
    assert first[0].shape == (channels, 20, 33)
    assert all(torch.equal(a, b) for a, b in zip(first, second)) and not torch.equal(*first)


@pytest.fixture
def command(tiny_config, tmp_path):
    (tmp_path / "config.yaml").write_text(tiny_config.dump())

    def build(*words: object, opts: Sequence[str] = ()) -> list[str]:
        return [*map(str, words), "--config-file", str(tmp_path / "config.yaml"), *opts]

    return build


# Tracing a detector takes seconds.
NO_DETECTOR = ["MODEL.PROPOSAL_GENERATOR.NAME", "", "MODEL.ROI_HEADS.NAME", "", "MODEL.PANOPTIC_FUSION.NAME", ""]


def test_every_task_reports_every_part(command, capsys):
    main(command("--num-images", 1, "--tasks", "flop", "activation", "parameter", "structure"))
    report = capsys.readouterr().out
    assert report.count("mean over the first 1 images of unified_test_streets_val") == 2
    for part in ("backbone", "proposal_generator", "roi_heads", "sem_seg_head", "all"):
        counts = re.findall(rf"^{part} +([\d.]+)", report, re.MULTILINE)
        assert len(counts) == 3 and min(map(float, counts)) > 0
    assert "UnifiedSegmentor(" in report


def test_without_a_data_set_on_disk_images_are_random(command, capsys):
    def absent():
        raise DataError("there is no such folder")

    DatasetCatalog.register("unified_test_absent", absent)
    MetadataCatalog.get("unified_test_absent").set(**build_cityscapes_table().to_metadata())
    try:
        opts = ["DATASETS.TEST", "('unified_test_absent',)", *NO_DETECTOR]
        main(command("--num-images", 1, "--tasks", "flop", opts=opts))
    finally:
        DatasetCatalog.remove("unified_test_absent")
        MetadataCatalog.remove("unified_test_absent")
    assert "mean over 1 random images of 128×64" in capsys.readouterr().out


def test_a_model_with_a_compiled_fusion_is_counted(command, capsys):
    opts = ["MODEL.PANOPTIC_FUSION.NAME", "SemanticGuidedFusion"]
    main(command("--random", "--num-images", 1, "--tasks", "flop", opts=opts))
    assert "roi_heads" in capsys.readouterr().out


def test_a_small_data_set_is_averaged_completely(tiny_config, tiny_dataset):
    # It has two validation images, of the test size.
    images, count, description = analyze_model.select_images(tiny_config, 5, random=False)
    assert [tuple(image.shape) for image in images] == [(3, 64, 128)] * 2
    assert (count, description) == (2, f"the first 2 images of {tiny_dataset.val}")


def test_a_semantic_model_is_counted_without_a_detector(command, capsys):
    main(command("--random", "--num-images", 1, "--tasks", "flop", "parameter", opts=NO_DETECTOR))
    report = capsys.readouterr().out
    assert "sem_seg_head" in report and "roi_heads" not in report


def test_a_checkpoint_is_counted_without_its_config_file(tiny_config, tiny_dataset, tmp_path, capsys, forget_datasets):
    tiny_config.merge_from_list(NO_DETECTOR)
    weights = write_result_of_training(tiny_config, tmp_path)
    words = ["--weights", str(weights), "--num-images", "1", "--tasks", "activation"]
    main([*words, "--dataset", tiny_dataset.val])
    assert f"the first 1 images of {tiny_dataset.val}" in capsys.readouterr().out


def test_named_weights_must_exist(command):
    with pytest.raises(SystemExit, match=r"CheckpointError: weights absent\.pth"):
        main(command("--tasks", "parameter", opts=["MODEL.WEIGHTS", "absent.pth"]))


def test_an_unknown_key_is_named(command):
    with pytest.raises(SystemExit, match=r"ConfigError: .*MODEL\.WEIGHT\b"):
        main(command("--tasks", "parameter", opts=["MODEL.WEIGHT", "x"]))
