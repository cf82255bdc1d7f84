"""A data set of hand-drawn streets in Cityscapes' format, and models' outputs for it.

Every image is 64 x 128. Rows 0-31 sky, 32-59 road, 60-63 void; on top of them
car A rows 30-49 columns 10-39 (600 pixels), car B rows 34-49 columns 60-79 (320), a person rows 24-53 columns 100-109
(300). So sky has 32 * 128 - 60 - 80 = 3956 pixels, road 28 * 128 - 540 - 320 - 220 = 2504; 3956 + 2504 + 600 + 320
+ 300 = 7680 = 60 * 128.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image
from pycocotools import mask as mask_util

from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable

SIZE = (64, 128)
ROAD, SKY, PERSON, CAR = range(4)  # semantic ids
IGNORE = 255
LABEL_IDS = (7, 23, 24, 26)  # Cityscapes' ids of the four classes
THINGS = {PERSON: 0, CAR: 1}  # semantic id -> thing id
CAR_A = (CAR, slice(30, 50), slice(10, 40))
CAR_B = (CAR, slice(34, 50), slice(60, 80))
WALKER = (PERSON, slice(24, 54), slice(100, 110))

METADATA: dict[str, Any] = {
    "stuff_classes": ["road", "sky", "person", "car"],
    "stuff_colors": [(128, 64, 128), (70, 130, 180), (220, 20, 60), (0, 0, 142)],
    "stuff_dataset_id_to_contiguous_id": {7: 0, 23: 1, 24: 2, 26: 3},
    "thing_classes": ["person", "car"],
    "thing_colors": [(220, 20, 60), (0, 0, 142)],
    "thing_dataset_id_to_contiguous_id": {24: 0, 26: 1},
    "ignore_label": IGNORE,
    "label_divisor": 1000,
    "evaluator_type": "unified_seg",
}


@dataclass
class Scene:
    """A street as semantic ids and segment ids (label id for stuff, label id * 1000 + n for instances, 0 for void)."""

    semantic: np.ndarray
    segments: np.ndarray
    crowds: set[int] = field(default_factory=set)

    def segment_ids(self) -> list[int]:
        return [int(i) for i in np.unique(self.segments) if i]

    def semantic_of(self, segment_id: int) -> int:
        return LABEL_IDS.index(segment_id if segment_id < 1000 else segment_id // 1000)

    def instance_ids(self) -> list[int]:
        return [i for i in self.segment_ids() if i >= 1000 and i not in self.crowds]


def draw_street(things: tuple = (CAR_A, CAR_B, WALKER), crowd: tuple | None = None) -> Scene:
    semantic = np.full(SIZE, SKY)
    semantic[32:60], semantic[60:] = ROAD, IGNORE
    segments = np.zeros(SIZE, dtype=np.int64)
    segments[:32], segments[32:60] = LABEL_IDS[SKY], LABEL_IDS[ROAD]
    crowds = set()
    for number, (cls, rows, columns) in enumerate((*things, crowd) if crowd else things):
        semantic[rows, columns] = cls
        segments[rows, columns] = LABEL_IDS[cls] * 1000 + number
        if crowd and number == len(things):
            crowds.add(LABEL_IDS[cls] * 1000 + number)
    return Scene(semantic, segments, crowds)


class Streets:
    """Scenes in a folder, and their records."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.records: list[dict[str, Any]] = []
        self.table = ClassTable.from_metadata(SimpleNamespace(**METADATA))

    def add(self, image_id: str, scene: Scene, city: str = "alpha") -> dict[str, Any]:
        folder = self.folder / city
        folder.mkdir(exist_ok=True)
        base = image_id.split("/")[-1]
        paths = {kind: folder / f"{base}_gtFine_{kind}.png" for kind in ("labelTrainIds", "instanceIds", "panoptic")}
        Image.fromarray(scene.semantic.astype(np.uint8)).save(paths["labelTrainIds"])
        # Cityscapes gives a group of cars the plain label id.
        instance_ids = np.where(np.isin(scene.segments, list(scene.crowds)), scene.segments // 1000, scene.segments)
        Image.fromarray(instance_ids.astype(np.uint16)).save(paths["instanceIds"])
        save_panoptic(paths["panoptic"], scene.segments)
        record = {
            "file_name": str(folder / f"{base}.png"),
            "image_id": image_id,
            "height": SIZE[0],
            "width": SIZE[1],
            "sem_seg_file_name": str(paths["labelTrainIds"]),
            "pan_seg_file_name": str(paths["panoptic"]),
            "instance_ids_file_name": str(paths["instanceIds"]),
            "segments_info": [segment_info(scene, i) for i in scene.segment_ids()],
        }
        self.records.append(record)
        return record

    def evaluate(self, kind: type, records: list[dict], outputs: list[dict]) -> dict[str, dict[str, float]]:
        """Return the scores of an evaluator with the folder out/."""
        return run(kind(self.table, records, self.folder / "out"), records, outputs)

    def write_panoptic_json(self) -> Path:
        """Write the ground truth as COCO panoptic JSON for official tools, and return the file."""
        annotations = []
        for record in self.records:
            infos = [
                info | {"category_id": self.table.find_class(info["category_id"], info["isthing"]).dataset_id}
                for info in record["segments_info"]
            ]
            name = str(Path(record["pan_seg_file_name"]).relative_to(self.folder))
            annotations.append({"image_id": record["image_id"], "file_name": name, "segments_info": infos})
        categories = [{"id": c.dataset_id, "isthing": int(c.is_thing)} for c in self.table.classes]
        path = self.folder / "panoptic.json"
        path.write_text(json.dumps({"annotations": annotations, "categories": categories}))
        return path


def save_panoptic(path: Path, ids: np.ndarray) -> None:
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)
    Image.fromarray(rgb.astype(np.uint8)).save(path)


def segment_info(scene: Scene, segment_id: int) -> dict[str, Any]:
    semantic = scene.semantic_of(segment_id)
    mask = scene.segments == segment_id
    return {
        "id": segment_id,
        "category_id": THINGS.get(semantic, semantic),
        "isthing": semantic in THINGS,
        "iscrowd": int(segment_id in scene.crowds),
        "area": int(mask.sum()),
        "bbox": [float(v) for v in box_of(mask)],
    }


def box_of(mask: np.ndarray) -> list[int]:
    """Return x, y, width, height."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]


def annotations_of(scene: Scene) -> list[dict[str, Any]]:
    """Return the things of a scene as Detectron2 annotations."""
    result = []
    for segment_id in scene.segment_ids():
        if segment_id >= 1000:
            mask = np.asfortranarray(scene.segments == segment_id)
            info = segment_info(scene, segment_id)
            segmentation = mask_util.encode(mask.astype(np.uint8, order="F"))
            kept = {key: info[key] for key in ("category_id", "iscrowd", "bbox")}
            result.append(kept | {"bbox_mode": BoxMode.XYWH_ABS, "segmentation": segmentation})
    return result


def instances_of(masks: np.ndarray, classes: list[int], scores: list[float], compact: bool = False) -> Instances:
    """Return detections with the tight boxes of their masks.

    Args:
        masks: (N, H, W) bool.
    """
    found = Instances(SIZE)
    boxes = [(x, y, x + w, y + h) for x, y, w, h in map(box_of, masks)]
    found.pred_boxes = Boxes(torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 4)))
    found.scores = torch.tensor(scores, dtype=torch.float32)
    found.pred_classes = torch.tensor(classes, dtype=torch.int64)
    full = torch.from_numpy(masks)
    found.pred_masks = BoxMasks.from_full(full) if compact else full
    return found


def perfect_output(scene: Scene, compact: bool = False) -> dict[str, Any]:
    """Return the output of a perfect model, which predicts road for void."""
    labels = torch.from_numpy(np.where(scene.semantic == IGNORE, ROAD, scene.semantic))
    things = scene.instance_ids()
    masks = np.stack([scene.segments == i for i in things]) if things else np.zeros((0, *SIZE), dtype=bool)
    classes = [THINGS[scene.semantic_of(i)] for i in things]
    scores = [0.9 - 0.1 * i for i in range(len(things))]
    output: dict[str, Any] = {"instances": instances_of(masks, classes, scores, compact)}
    if compact:
        output["sem_seg_labels"] = labels.to(torch.uint8)
    else:
        output["sem_seg"] = torch.nn.functional.one_hot(labels, 4).permute(2, 0, 1).float()
    infos = [
        {key: info[key] for key in ("id", "category_id", "isthing", "area")}
        for info in (segment_info(scene, i) for i in scene.segment_ids())
    ]
    output["panoptic_seg"] = (torch.from_numpy(scene.segments.astype(np.int32)), infos)
    return output


def noisy_output(scene: Scene, rng: np.random.Generator) -> dict[str, Any]:
    """Return an imperfect output: things are shifted, missed, of the other class, or false positives."""
    masks, classes, scores = [], [], []
    for segment_id in [*scene.instance_ids(), *scene.crowds]:
        for _ in range(int(rng.integers(0, 3))):
            masks.append(np.roll(scene.segments == segment_id, tuple(rng.integers(-3, 4, size=2)), axis=(0, 1)))
            classes.append(int(THINGS[scene.semantic_of(segment_id)] if rng.random() < 0.8 else rng.integers(0, 2)))
            scores.append(float(rng.integers(1, 10) / 10))
    segments = np.where(scene.segments < 1000, scene.segments, LABEL_IDS[ROAD])
    infos = {7: {"id": 7, "category_id": ROAD, "isthing": False}, 23: {"id": 23, "category_id": SKY, "isthing": False}}
    for number, (mask, thing_id) in enumerate(zip(masks, classes), start=1000):
        segments[mask] = number
        infos[number] = {"id": number, "category_id": thing_id, "isthing": True}
    segments[:, : int(rng.integers(0, 20))] = 0
    full = np.stack(masks) if masks else np.zeros((0, *SIZE), dtype=bool)
    return {
        "instances": instances_of(full, classes, scores),
        "panoptic_seg": (
            torch.from_numpy(segments.astype(np.int32)),
            [infos[int(i)] for i in np.unique(segments) if i],
        ),
    }


def record_of(folder: Path, ground_truth: np.ndarray, name: str = "street") -> dict[str, Any]:
    """Write the semantic ground truth of an image to a file, and return its record."""
    file = folder / f"{name}_labels.png"
    Image.fromarray(ground_truth.astype(np.uint8)).save(file)
    height, width = ground_truth.shape
    known = {"image_id": name, "file_name": f"{name}.png", "sem_seg_file_name": str(file)}
    return {**known, "height": height, "width": width}


def run(evaluator: Any, records: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> dict[str, Any]:
    evaluator.reset()
    for record, output in zip(records, outputs, strict=True):
        evaluator.process([{"image_id": record["image_id"]}], [output])
    return evaluator.evaluate()
