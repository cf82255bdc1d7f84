"""A street drawn by hand, as the outputs of a model and as the files of a record."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances
from PIL import Image

from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable

SIZE = (64, 128)
SKY, ROAD, CAR, PERSON = range(4)  # semantic ids; car and person are the things 0 and 1


@pytest.fixture(scope="session")
def metadata() -> Any:
    catalog = MetadataCatalog.get(f"drawn_street_{uuid.uuid4().hex}")
    catalog.set(
        stuff_classes=["sky", "road $", "car", "person"],
        stuff_colors=[(70, 130, 180), (128, 64, 128), (0, 0, 142), (220, 20, 60)],
        thing_classes=["car", "person"],
        thing_colors=[(0, 0, 142), (220, 20, 60)],
        ignore_label=255,
    )
    return catalog


@pytest.fixture(scope="session")
def table(metadata: Any) -> ClassTable:
    return ClassTable.from_metadata(metadata)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def street() -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Semantic labels, panoptic ids, and segments: sky over road, two cars side by side, a void corner."""
    labels = np.full(SIZE, SKY)
    labels[32:] = ROAD
    ids = np.where(labels == SKY, 1, 2)
    for segment, left in ((3, 20), (4, 44)):
        labels[24:48, left : left + 24] = CAR
        ids[24:48, left : left + 24] = segment
    labels[56:, 96:], ids[56:, 96:] = 255, 0
    segments = [
        {"id": 1, "category_id": SKY, "isthing": False, "iscrowd": 0},
        {"id": 2, "category_id": ROAD, "isthing": False, "iscrowd": 0},
        {"id": 3, "category_id": 0, "isthing": True, "iscrowd": 0},
        {"id": 4, "category_id": 0, "isthing": True, "iscrowd": 0},
    ]
    return labels, ids, segments


@pytest.fixture
def compact(street: tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]) -> dict[str, Any]:
    """A perfect output, whose second car has the score 0.4."""
    labels, ids, segments = street
    masks = BoxMasks.from_full(torch.from_numpy(np.stack([ids == 3, ids == 4])))
    instances = Instances(
        SIZE,
        pred_boxes=Boxes(masks.windows.float()),
        scores=torch.tensor([0.9, 0.4]),
        pred_classes=torch.tensor([0, 0]),
        pred_masks=masks,
    )
    return {
        # No prediction is void.
        "sem_seg_labels": torch.from_numpy(np.where(labels == 255, ROAD, labels)),
        "instances": instances,
        "panoptic_seg": (torch.from_numpy(ids.astype(np.int32)), segments),
    }


@pytest.fixture
def full(compact: dict[str, Any]) -> dict[str, Any]:
    """The same output in Detectron2's form."""
    instances = Instances(SIZE, **compact["instances"].get_fields())
    instances.pred_masks = compact["instances"].pred_masks.full()
    logits = torch.nn.functional.one_hot(compact["sem_seg_labels"], 4).permute(2, 0, 1).float()
    return {"sem_seg": logits, "instances": instances, "panoptic_seg": compact["panoptic_seg"]}


@pytest.fixture
def fused(compact: dict[str, Any]) -> dict[str, Any]:
    """The output of a fusion. Before: the second car is labeled person and not detected, the first is detected twice.

    After: the semantic map is right, the double is dropped, and the second car is found by semantics.
    """
    masks: BoxMasks = compact["instances"].pred_masks
    before = Instances(
        SIZE,
        pred_boxes=Boxes(masks.windows[[0, 0]].float()),
        scores=torch.tensor([0.9, 0.6]),
        pred_classes=torch.tensor([0, 0]),
        pred_masks=masks[[0, 0]],
    )
    after = Instances(
        SIZE,
        pred_boxes=Boxes(masks.windows[[0, 0, 1]].float()),
        scores=torch.tensor([0.9, 0.6, 0.0]),
        pred_classes=torch.tensor([0, 0, 0]),
        pred_masks=masks[[0, 0, 1]],
        found=torch.tensor([False, False, True]),
    )
    labels = compact["sem_seg_labels"].clone()
    labels[24:48, 44:68] = PERSON
    ids, segments = compact["panoptic_seg"]
    instance_of = {3: {"instance_id": 0}, 4: {"instance_id": 2}}
    segments = [{**segment, **instance_of.get(segment["id"], {})} for segment in segments]
    return {
        "sem_seg_labels": compact["sem_seg_labels"],
        "instances": after,
        "panoptic_seg": (ids, segments),
        "unfused": {"sem_seg_labels": labels, "instances": before},
    }


@pytest.fixture
def record(tmp_path: Path, image: np.ndarray, street: tuple[np.ndarray, np.ndarray, Any]) -> dict[str, Any]:
    labels, ids, segments = street
    Image.fromarray(image).save(tmp_path / "image.png")
    Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "labels.png")
    rgb = np.stack([ids, np.zeros_like(ids), np.zeros_like(ids)], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "panoptic.png")
    return {
        "file_name": str(tmp_path / "image.png"),
        "image_id": "street",
        "height": SIZE[0],
        "width": SIZE[1],
        "sem_seg_file_name": str(tmp_path / "labels.png"),
        "pan_seg_file_name": str(tmp_path / "panoptic.png"),
        "segments_info": segments,
    }
