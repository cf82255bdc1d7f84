"""Fixed inputs that look like real ones: Toyscapes scenes, generated in memory."""

from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import BitMasks, Instances

from toyscapes import make_scene, render_scene
from toyscapes.labels import make_label_maps
from unified_seg.structures.class_table import ClassTable

PRESET = "standard"


def toyscapes_batch(size: tuple[int, int], count: int, seed: int, image_format: str) -> list[dict[str, Any]]:
    """Make training inputs, like those of the dataset mapper, of the first scenes of the training split.

    Args:
        size: (height, width), each at least 64.
        count: number of images.
        seed: seed of the generator.
        image_format: "RGB" or "BGR".

    Returns:
        A dict for each image: `image` (3, H, W) uint8, `sem_seg` (H, W) int64, and `instances` with boxes, classes and
        masks.

    Raises:
        ValueError: the generator does not support the size.
    """
    table = ClassTable.from_metadata(MetadataCatalog.get("unified_toyscapes_train"))
    return [_example(size, seed, index, image_format, table) for index in range(count)]


def _example(size: tuple[int, int], seed: int, index: int, image_format: str, table: ClassTable) -> dict[str, Any]:
    picture, polygons = render_scene(make_scene(PRESET, seed, "train", index), size)
    maps = make_label_maps(polygons)
    channels = picture if image_format == "RGB" else picture[..., ::-1]
    return {
        "image": torch.from_numpy(np.ascontiguousarray(channels.transpose(2, 0, 1))),
        "sem_seg": torch.from_numpy(maps.train_ids.astype(np.int64)),
        "instances": _instances(maps.instance_ids.astype(np.int64), table),
        "height": size[0],
        "width": size[1],
    }


def _instances(instance_ids: np.ndarray, table: ClassTable) -> Instances:
    """Read a map of class id * 1000 + number, in which smaller values are stuff or crowds."""
    classes, masks = [], []
    for instance in np.unique(instance_ids[instance_ids >= 1000]):
        found = table.by_dataset_id.get(int(instance) // 1000)
        if found is not None and found.is_thing:
            classes.append(found.thing_id)
            masks.append(instance_ids == instance)
    bit_masks = BitMasks(torch.from_numpy(np.array(masks, dtype=bool).reshape(-1, *instance_ids.shape)))
    instances = Instances(instance_ids.shape)
    instances.gt_boxes = bit_masks.get_bounding_boxes()
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
    instances.gt_masks = bit_masks
    return instances
