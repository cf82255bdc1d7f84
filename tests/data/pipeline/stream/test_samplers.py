"""Samplers of training images: the repeat factors of Detectron2, whatever the ground truth."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.data.samplers import RepeatFactorTrainingSampler

from unified_seg.config import ConfigError
from unified_seg.data.pipeline.loaders import build_train_loader, load_training_records
from unified_seg.data.pipeline.stream.samplers import prepare_train_sampler
from unified_seg.data.resolve import resolve_config

THRESHOLD = 0.9
SEEDS = (0, 1)


def sample_by(cfg: CfgNode, name: str, detector: bool = True) -> CfgNode:
    cfg.DATALOADER.SAMPLER_TRAIN, cfg.DATALOADER.REPEAT_THRESHOLD = name, THRESHOLD
    if not detector:
        cfg.MODEL.ROI_HEADS.NAME = cfg.MODEL.PROPOSAL_GENERATOR.NAME = cfg.MODEL.PANOPTIC_FUSION.NAME = ""
    return resolve_config(cfg)


def factors(sampler: RepeatFactorTrainingSampler) -> torch.Tensor:
    assert isinstance(sampler, RepeatFactorTrainingSampler)
    return sampler._int_part + sampler._frac_part


def expected(classes: list[list[object]]) -> torch.Tensor:
    images = [{"annotations": [{"category_id": c} for c in image]} for image in classes]
    return RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(images, THRESHOLD)


def test_instances_of_panoptic_segments_and_of_annotations_count_the_same(tiny_config: CfgNode) -> None:
    cfg = sample_by(tiny_config, "RepeatFactorTrainingSampler")
    panoptic = load_training_records(cfg)
    assert all("annotations" not in record for record in panoptic)
    things = [[s for s in record["segments_info"] if s["isthing"]] for record in panoptic]
    by_hand = expected([[s["category_id"] for s in image] for image in things])
    assert by_hand.max() > 1
    coco = [{**record, "annotations": image} for record, image in zip(panoptic, things)]
    for record in coco:
        del record["segments_info"]
    assert torch.equal(factors(prepare_train_sampler(cfg, panoptic)(SEEDS)), by_hand)
    assert torch.equal(factors(prepare_train_sampler(cfg, coco)(SEEDS)), by_hand)
    assert len(next(iter(build_train_loader(cfg)))) == cfg.SOLVER.IMS_PER_BATCH


def test_without_a_detector_the_semantic_classes_count(tiny_config: CfgNode) -> None:
    cfg = sample_by(tiny_config, "RepeatFactorTrainingSampler", detector=False)
    records = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])
    # The scenes of the hand-drawn streets; sky and road are everywhere.
    scenes = [["building", "car", "person"], ["car", "bicycle"], ["building"], ["building", "person"]]
    by_hand = expected([["sky", "road", *scene] for scene in scenes])
    assert by_hand.max() > 1
    assert torch.equal(factors(prepare_train_sampler(cfg, records)(SEEDS)), by_hand)
    segments_only = [{k: v for k, v in record.items() if k != "sem_seg_file_name"} for record in records]
    assert torch.equal(factors(prepare_train_sampler(cfg, segments_only)(SEEDS)), by_hand)
    unreadable = [{**records[0], "sem_seg_file_name": "/nowhere.png"}, *records[1:]]
    assert factors(prepare_train_sampler(cfg, unreadable)(SEEDS))[0] == 1


def test_images_without_an_instance_are_left_out_for_a_detector_alone(tiny_config: CfgNode) -> None:
    (name,) = tiny_config.DATASETS.TRAIN
    tiny_config.MODEL.SEM_SEG_HEAD.NAME = tiny_config.MODEL.PANOPTIC_FUSION.NAME = ""
    segments = [record["segments_info"] for record in DatasetCatalog.get(name)]
    has_instance = [any(s["isthing"] and not s.get("iscrowd", 0) for s in image) for image in segments]
    assert not all(has_instance)
    for filtered, number in ((True, sum(has_instance)), (False, len(has_instance))):
        tiny_config.DATALOADER.FILTER_EMPTY_ANNOTATIONS = filtered
        assert len(load_training_records(resolve_config(tiny_config.clone()))) == number


def test_void_is_no_class(tiny_config: CfgNode, tmp_path: Path) -> None:
    cfg = sample_by(tiny_config, "RepeatFactorTrainingSampler", detector=False)
    records = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[:2]
    # Both are of one class, the first but for a pixel: were void a class, in half of the images, it would be repeated.
    for index, record in enumerate(records):
        label = np.zeros((record["height"], record["width"]), dtype=np.uint8)
        label[0, 0] = 255 * (index == 0)
        cv2.imwrite(str(tmp_path / f"{index}.png"), label)
    records = [{**record, "sem_seg_file_name": str(tmp_path / f"{i}.png")} for i, record in enumerate(records)]
    assert factors(prepare_train_sampler(cfg, records)(SEEDS)).tolist() == [1, 1]


def test_images_without_instance_labels_have_those_of_their_semantic_label(tiny_config: CfgNode) -> None:
    cfg = sample_by(tiny_config, "RepeatFactorTrainingSampler")
    one, *others = load_training_records(cfg)
    semantic = {key: value for key, value in one.items() if key not in ("segments_info", "pan_seg_file_name")}
    assert factors(prepare_train_sampler(cfg, [semantic, *others])(SEEDS))[0] > 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("SAMPLER_TRAIN", "NoSampler"), ("RANDOM_SUBSET_RATIO", 0.1), ("RANDOM_SUBSET_RATIO", 1.5)],
)
def test_invalid_samplers_are_errors_with_their_key(tiny_config: CfgNode, key: str, value: object) -> None:
    tiny_config.DATALOADER.SAMPLER_TRAIN = "RandomSubsetTrainingSampler"
    tiny_config.DATALOADER[key] = value
    with pytest.raises(ConfigError, match=rf"^DATALOADER\.{key}: "):
        build_train_loader(resolve_config(tiny_config))


def test_random_subset_uses_a_part_of_the_images(tiny_config: CfgNode) -> None:
    tiny_config.DATALOADER.SAMPLER_TRAIN, tiny_config.DATALOADER.RANDOM_SUBSET_RATIO = (
        "RandomSubsetTrainingSampler",
        0.5,
    )
    loader = iter(build_train_loader(resolve_config(tiny_config)))
    names = {record["file_name"] for _ in range(8) for record in next(loader)}
    assert 1 <= len(names) <= 2
