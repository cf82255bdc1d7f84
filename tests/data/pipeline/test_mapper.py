from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools import mask as mask_util

from unified_seg.config import ConfigError
from unified_seg.data.datasets.cityscapes import build_cityscapes_table
from unified_seg.data.pipeline.mapper import UnifiedMapper, _decode_labels, _encode_labels
from unified_seg.data.pipeline.resize import Resize, ResizeCrop
from unified_seg.data.pipeline.transforms import Crop, Pad, PadToSize, Rotate
from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import ClassTable

COLORS = torch.tensor([*build_cityscapes_table().semantic_colors, *[(0, 0, 0)] * 237])  # void is drawn black
PERSON, CAR = 0, 2  # thing ids
CAR_SEMANTIC = 13


def records_of(cfg: CfgNode, split: str = "TRAIN") -> list[dict[str, Any]]:
    return DatasetCatalog.get(cfg.DATASETS[split][0])


def mapper_with(*steps: T.Augmentation, **options: Any) -> UnifiedMapper:
    table = build_cityscapes_table()
    settings = {"is_train": True, "image_format": "RGB", "class_table": table, **options}
    return UnifiedMapper(augmentations=T.AugmentationList(list(steps)), **settings)


AUGMENTATIONS = {
    "nothing": [],
    "flip": [T.RandomFlip(1.0)],
    "vertical flip": [T.RandomFlip(1.0, horizontal=False, vertical=True)],
    "crop": [T.RandomCrop("absolute", (40, 50))],
    "smaller": [T.ResizeShortestEdge(51, 128)],
    "larger": [T.ResizeShortestEdge(100, 300)],
    "all": [T.ResizeShortestEdge((51, 64), 128, "range"), T.RandomCrop("relative_range", (0.5, 0.5)), T.RandomFlip()],
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("index", range(4))
def test_image_label_and_masks_move_together(name: str, index: int, tiny_config: CfgNode) -> None:
    np.random.seed(index)
    result = mapper_with(*AUGMENTATIONS[name])(records_of(tiny_config)[index])
    image, label, instances = result["image"], result["sem_seg"], result["instances"]
    assert image.dtype == torch.uint8 and label.dtype == torch.int64
    assert image.shape[1:] == label.shape == instances.gt_masks.tensor.shape[1:] == instances.image_size

    # The image's color is its label's, but for pixels that a resize has blended at the borders of objects.
    agrees = (COLORS[label].permute(2, 0, 1) == image).all(0)
    resized = name in ("smaller", "larger", "all")
    assert agrees.float().mean() > 0.8 if resized else agrees.all()
    disagreeing = (~agrees).float()[None, None]
    # What disagrees is thin: no block of 5 x 5 pixels without an agreeing one, at twice the size 7 x 7.
    side = 7 if name == "larger" else 5
    assert torch.nn.functional.avg_pool2d(disagreeing, side, stride=1).max() < 1

    semantic_of_thing = torch.tensor([11, 12, 13, 14, 15, 16, 17, 18])
    for mask, cls, box in zip(instances.gt_masks.tensor, instances.gt_classes, instances.gt_boxes.tensor, strict=True):
        # Both were moved in the same way by nearest neighbor: pixel for pixel the same class.
        assert (label[mask] == semantic_of_thing[cls]).all()
        rows, columns = mask.nonzero().T
        # Detectron2's boxes of masks end one past the last pixel.
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    crowd = index == 3
    things = torch.isin(label, semantic_of_thing)
    assert torch.equal(instances.gt_masks.tensor.any(0), things & (not crowd))


def test_instances_are_those_made_by_hand(tiny_config: CfgNode) -> None:
    # Image 0: a car at rows 30-49, columns 10-39, one at rows 34-49, columns 60-83, a person at 24-53, 98-107.
    result = mapper_with(T.RandomFlip(1.0))(records_of(tiny_config)[0])
    found = sorted(zip(result["instances"].gt_classes.tolist(), result["instances"].gt_boxes.tensor.tolist()))
    # Column x becomes 127 - x.
    assert found == [
        (PERSON, [20.0, 24.0, 30.0, 54.0]),
        (CAR, [44.0, 34.0, 68.0, 50.0]),
        (CAR, [88.0, 30.0, 118.0, 50.0]),
    ]
    assert result["instances"].gt_masks.tensor.sum((1, 2)).sort().values.tolist() == [300, 384, 600]


def test_crowds_and_images_without_things_have_no_instances(tiny_config: CfgNode) -> None:
    for index in (2, 3):
        instances = mapper_with()(records_of(tiny_config)[index])["instances"]
        assert len(instances) == 0
        assert instances.gt_masks.tensor.shape == (0, 64, 128)
        assert instances.gt_boxes.tensor.shape == (0, 4)
        assert instances.gt_classes.dtype == torch.int64


def test_instances_outside_of_a_crop_are_left_out(tiny_config: CfgNode) -> None:
    result = mapper_with(T.CropTransform(0, 0, 45, 64))(records_of(tiny_config)[0])
    assert result["instances"].gt_boxes.tensor.tolist() == [[10.0, 30.0, 40.0, 50.0]]


def test_panoptic_ids_use_three_bytes(tmp_path: Path) -> None:
    # Ids whose low bytes are alike: 1, 1 + 256, 1 + 65536.
    ids = np.array([[1] * 4, [257] * 4, [65537] * 4, [0] * 4])
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "pan.png")
    Image.fromarray(rgb).save(tmp_path / "image.png")
    record = {
        "file_name": str(tmp_path / "image.png"),
        "pan_seg_file_name": str(tmp_path / "pan.png"),
        "height": 4,
        "width": 4,
        "segments_info": [{"id": i, "category_id": c, "isthing": True} for i, c in ((1, 5), (257, 3), (65537, 0))],
    }
    instances = mapper_with(with_semantic=False)(record)["instances"]
    assert instances.gt_classes.tolist() == [5, 3, 0]
    assert [mask.nonzero()[:, 0].unique().tolist() for mask in instances.gt_masks.tensor] == [[0], [1], [2]]
    # Resized, every pixel still has one of the ids: none is blended from two.
    larger = mapper_with(T.Resize((11, 9)), with_semantic=False)(record)["instances"]
    assert len(larger) == 3
    assert (larger.gt_masks.tensor.sum(0) <= 1).all()


def annotated(tmp_path: Path) -> dict[str, Any]:
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    mask = np.zeros((20, 30), dtype=np.uint8, order="F")
    mask[2:8, 20:26] = 1
    square = [4.0, 5.0, 14.0, 5.0, 14.0, 15.0, 4.0, 15.0]
    common = {"bbox_mode": BoxMode.XYWH_ABS, "iscrowd": 0}
    return {
        "file_name": str(tmp_path / "image.png"),
        "height": 20,
        "width": 30,
        "annotations": [
            {**common, "bbox": [4, 5, 10, 10], "category_id": 1, "segmentation": [square]},
            {**common, "bbox": [20, 2, 6, 6], "category_id": 3, "segmentation": mask_util.encode(mask)},
            {**common, "bbox": [0, 0, 5, 5], "category_id": 3, "segmentation": [square], "iscrowd": 1},
        ],
    }


def test_coco_annotations_become_instances(tmp_path: Path) -> None:
    record = annotated(tmp_path)
    instances = mapper_with(T.RandomFlip(1.0), with_semantic=False)(record)["instances"]
    assert instances.gt_classes.tolist() == [1, 3]
    # Columns 4-13 and 20-25 of 30 become 16-25 and 4-9.
    assert instances.gt_boxes.tensor.tolist() == [[16.0, 5.0, 26.0, 15.0], [4.0, 2.0, 10.0, 8.0]]
    assert instances.gt_masks.tensor.sum((1, 2)).tolist() == [100, 36]
    assert instances.gt_masks.tensor.dtype == torch.bool
    # The record is the data set's own: it must come out as it went in.
    assert record["annotations"][0]["bbox"] == [4, 5, 10, 10]
    assert record["annotations"][0]["segmentation"] == annotated(tmp_path)["annotations"][0]["segmentation"]


FILL = (104, 116, 124)
MOVES = {
    # By hand on the 20 x 30 image: rows and columns of the square (5-14, 4-13) and of the other mask (2-7, 20-25).
    "half turn": (Rotate(20, 30, 180, FILL), [(5, 15, 16, 26), (12, 18, 4, 10)]),
    "padding by 10 above and below": (Pad(0, 10, 0, 10, pad_value=FILL), [(15, 25, 4, 14), (12, 18, 20, 26)]),
    "crop": (Crop(8, 4, 15, 12), [(1, 11, 0, 6), (0, 4, 12, 15)]),
    "crop that leaves the second": (Crop(14, 0, 16, 20), [None, (2, 8, 6, 12)]),
    "twice the size, cropped": (
        ResizeCrop(Resize(20, 30, 40, 60), Crop(20, 2, 40, 38)),
        [(8, 28, 0, 8), (2, 14, 20, 32)],
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_polygons_and_rles_move_alike(name: str, tmp_path: Path) -> None:
    move, windows = MOVES[name]
    instances = mapper_with(move, with_semantic=False)(annotated(tmp_path))["instances"]
    expected = [(cls, window) for cls, window in zip((1, 3), windows) if window]
    assert instances.gt_classes.tolist() == [cls for cls, _ in expected]
    for mask, box, (_, (top, bottom, left, right)) in zip(
        instances.gt_masks.tensor, instances.gt_boxes.tensor.tolist(), expected, strict=True
    ):
        drawn = torch.zeros(instances.image_size, dtype=torch.bool)
        drawn[top:bottom, left:right] = True
        assert torch.equal(mask, drawn)
        assert box == [left, top, right, bottom]


@pytest.mark.parametrize("angle", [-40.0, 10.0, 75.0])
def test_rotated_polygons_and_rles_are_the_rotated_masks(angle: float, tmp_path: Path) -> None:
    record = annotated(tmp_path)
    instances = mapper_with(Rotate(20, 30, angle, FILL), with_semantic=False)(record)["instances"]
    square, other = np.zeros((2, 20, 30), dtype=np.uint8)
    square[5:15, 4:14] = other[2:8, 20:26] = 1
    expected = [Rotate(20, 30, angle, FILL).apply_segmentation(mask) for mask in (square, other)]
    found = dict(zip(instances.gt_classes.tolist(), instances.gt_masks.tensor.numpy()))
    # The polygon may differ where its outline of 40 pixels runs through a pixel, the RLE nowhere.
    assert (found[1] != expected[0]).sum() <= 24
    assert not expected[1].any() if 3 not in found else np.array_equal(found[3], expected[1])


def test_crowds_alone_give_no_instances(tmp_path: Path) -> None:
    record = annotated(tmp_path)
    record["annotations"] = record["annotations"][2:]
    assert len(mapper_with(with_semantic=False)(record)["instances"]) == 0


def test_detectors_without_masks_need_only_boxes(tmp_path: Path) -> None:
    record = annotated(tmp_path)
    for annotation in record["annotations"]:
        del annotation["segmentation"]
    instances = mapper_with(T.RandomFlip(1.0), with_semantic=False, with_masks=False)(record)["instances"]
    assert instances.gt_boxes.tensor.tolist() == [[16.0, 5.0, 26.0, 15.0], [4.0, 2.0, 10.0, 8.0]]
    assert instances.gt_classes.tolist() == [1, 3]
    assert not instances.has("gt_masks")
    with pytest.raises(DataError, match=r"image\.png: annotation 0 has no segmentation"):
        mapper_with(with_semantic=False)(record)


def test_inference_keeps_the_record(tiny_config: CfgNode) -> None:
    tiny_config.INPUT.MIN_SIZE_TEST = 32
    record = records_of(tiny_config, "TEST")[0]
    before = dict(record)
    result = UnifiedMapper(tiny_config, False)(record)
    assert result.keys() == before.keys() | {"image"}
    assert {key: result[key] for key in before} == before == record
    assert result["image"].shape == (3, 32, 64)
    assert (result["height"], result["width"]) == (64, 128)


@pytest.mark.parametrize(("format", "channels"), [("RGB", [0, 1, 2]), ("BGR", [2, 1, 0])])
def test_channels_have_the_order_of_the_config(format: str, channels: list[int], tiny_config: CfgNode) -> None:
    tiny_config.INPUT.FORMAT = format
    image = UnifiedMapper(tiny_config, False)(records_of(tiny_config, "TEST")[0])["image"]
    sky = torch.tensor([70, 130, 180])[channels]
    assert torch.equal(image[:, 0, 127].long(), sky)


def test_only_needed_ground_truth_is_read(tiny_config: CfgNode) -> None:
    record = records_of(tiny_config)[0]
    tiny_config.MODEL.ROI_HEADS.NAME = ""
    result = UnifiedMapper(tiny_config, True)({k: v for k, v in record.items() if k != "pan_seg_file_name"})
    assert "instances" not in result and "sem_seg" in result
    tiny_config.MODEL.SEM_SEG_HEAD.NAME, tiny_config.MODEL.ROI_HEADS.NAME = "", "StandardROIHeads"
    result = UnifiedMapper(tiny_config, True)({k: v for k, v in record.items() if k != "sem_seg_file_name"})
    assert "instances" in result and "sem_seg" not in result


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("file_name", "but its record has 64x128"),
        ("sem_seg_file_name", "its image has 64x128"),
        ("pan_seg_file_name", "its image has 64x128"),
    ],
)
def test_files_of_another_size_are_named(key: str, message: str, tiny_config: CfgNode, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    with Image.open(records_of(tiny_config)[0][key]) as image:
        image.resize((100, 64), Image.Resampling.NEAREST).save(other)
    with pytest.raises(DataError, match=rf"other\.png: 64x100 pixels, {message}"):
        UnifiedMapper(tiny_config, True)({**records_of(tiny_config)[0], key: str(other)})


def test_label_ids_without_a_class_are_errors(tiny_config: CfgNode, tmp_path: Path) -> None:
    file = tmp_path / "label.png"
    Image.fromarray(np.full((64, 128), 300, dtype=np.uint16)).save(file)
    with pytest.raises(DataError, match=r"label\.png: label id 300 is neither a class"):
        UnifiedMapper(tiny_config, True)({**records_of(tiny_config)[0], "sem_seg_file_name": str(file)})


def test_crops_can_limit_a_single_category(tiny_config: CfgNode) -> None:
    crop = tiny_config.INPUT.CROP
    crop.ENABLED, crop.TYPE, crop.SIZE, crop.SINGLE_CATEGORY_MAX_AREA = True, "absolute", [20, 20], 0.75
    result = UnifiedMapper(tiny_config, True)(records_of(tiny_config)[0])
    assert result["image"].shape == (3, 20, 20)
    assert result["sem_seg"].shape == (20, 20)


@pytest.mark.parametrize("ignore", [255, 19])
def test_new_pixels_of_labels_are_ignored(ignore: int, tmp_path: Path) -> None:
    # Every id there is, one a column: all come back, and the frame of two pixels is void.
    columns = (np.arange(256) % (ignore + 1)).astype(np.uint8)
    Image.fromarray(np.tile(columns, (4, 1))).save(tmp_path / "label.png")
    Image.fromarray(np.zeros((4, 256, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    record = {
        "file_name": str(tmp_path / "image.png"),
        "sem_seg_file_name": str(tmp_path / "label.png"),
        "height": 4,
        "width": 256,
    }
    names = [f"class {i}" for i in range(ignore)]
    table = ClassTable.from_metadata(SimpleNamespace(stuff_classes=names, ignore_label=ignore))
    label = mapper_with(PadToSize((8, 260), FILL), with_instances=False, class_table=table)(record)["sem_seg"]
    assert torch.equal(label[2:6, 2:258], torch.from_numpy(columns).long().expand(4, 256))
    label[2:6, 2:258] = ignore
    assert (label == ignore).all()


@pytest.mark.parametrize("ignore", [-1, 32768])
def test_ignore_labels_beyond_two_bytes_are_refused(
    ignore: int, tiny_config: CfgNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = tiny_config.DATASETS.TRAIN[0]
    monkeypatch.setitem(MetadataCatalog.get(name).__dict__, "ignore_label", ignore)
    with pytest.raises(ConfigError, match=rf"{name}: the ignore label must be in \[0, 32767\], got {ignore}"):
        UnifiedMapper(tiny_config, True)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_labels_of_two_bytes_move_as_those_of_one(name: str, tiny_config: CfgNode) -> None:
    record = records_of(tiny_config)[0]
    table = build_cityscapes_table()
    wide = {**record, "sem_seg_values": {**{i: i for i in range(19)}, 255: 32767}}
    labels = []
    for each, classes in ((record, table), (wide, ClassTable(table.classes, 32767))):
        np.random.seed(3)
        labels.append(mapper_with(*AUGMENTATIONS[name], class_table=classes)(each)["sem_seg"])
    assert torch.equal(torch.where(labels[0] == 255, 32767, labels[0]), labels[1])


@pytest.mark.parametrize("ignore", [255, 32767, 0, 300])
def test_labels_survive_their_bytes(ignore: int) -> None:
    labels = np.array([[0, 1, 254], [ignore, 7, 100]], dtype=np.int32)
    if ignore > 255:
        labels[0, 1:] = 255, 299
    coded = _encode_labels(labels, ignore)
    assert coded.dtype == np.uint8
    assert (coded[1, 0] == 0).all()  # what transforms fill new pixels with
    assert (_decode_labels(coded, ignore) == labels).all()


def test_panoptic_records_give_semantic_labels(tiny_config: CfgNode) -> None:
    # The labels of the drawn streets equal the segments' classes.
    mapper = mapper_with()
    for record in records_of(tiny_config):
        without = {key: value for key, value in record.items() if key != "sem_seg_file_name"}
        assert torch.equal(mapper(without)["sem_seg"], mapper(record)["sem_seg"])


def test_records_without_ground_truth_are_void(tiny_config: CfgNode) -> None:
    record = records_of(tiny_config)[0]
    without_labels = {key: record[key] for key in ("file_name", "image_id", "height", "width")}
    result = mapper_with(T.RandomFlip(1.0))(without_labels)
    assert (result["sem_seg"] == 255).all() and result["sem_seg"].shape == (64, 128)
    assert "instances" not in result


BAD_MASKS: dict[str, tuple[Any, str]] = {
    "a point at infinity": ([[0.0, 0.0, float("inf"), 5.0, 5.0, 5.0]], "the coordinate inf"),
    "run lengths that do not fill the image": ({"size": [64, 128], "counts": [10, 10]}, "do not add up to 64 x 128"),
    "another size": ({"size": [4, 4], "counts": [16]}, r"the size \[4, 4\]"),
}


@pytest.mark.parametrize("name", BAD_MASKS)
def test_invalid_masks_are_named(name: str, tiny_config: CfgNode) -> None:
    segmentation, message = BAD_MASKS[name]
    record = {key: records_of(tiny_config)[0][key] for key in ("file_name", "image_id", "height", "width")}
    box = {"bbox": [0.0, 0.0, 5.0, 5.0], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
    record["annotations"] = [{**box, "segmentation": segmentation, "id": 7}]
    with pytest.raises(DataError, match=rf"leftImg8bit\.png: annotation 7: .*{message}"):
        mapper_with(with_semantic=False)(record)


@pytest.mark.parametrize("is_train", [True, False])
@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
def test_images_of_unusual_sizes_are_mapped(
    size: tuple[int, int], is_train: bool, tiny_config: CfgNode, tmp_path: Path
) -> None:
    """Items 19 and 24: of 1 x 5000 pixels at most 128 long nothing would be left of the shorter side."""
    labels = np.zeros(size, dtype=np.uint8)
    for name, array in (("image", np.stack([labels] * 3, axis=-1)), ("label", labels)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    record = {
        "file_name": str(tmp_path / "image.png"),
        "sem_seg_file_name": str(tmp_path / "label.png"),
        "annotations": [],
        "height": size[0],
        "width": size[1],
    }
    result = UnifiedMapper(tiny_config, is_train)(record)
    height, width = result["image"].shape[1:]
    assert (height == 1 or height <= 128) and (width == 1 or width <= 128)
    if is_train:
        assert result["sem_seg"].shape == (height, width) and not result["sem_seg"].any()


def test_thin_panoptic_maps_are_mirrored(tiny_config: CfgNode, tmp_path: Path) -> None:
    """NumPy calls an array with a negative stride on an axis of length 1 contiguous, PyTorch refuses it."""
    Image.fromarray(np.zeros((40, 1, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    segments = np.zeros((40, 1, 3), dtype=np.uint8)
    segments[..., 0] = 7
    Image.fromarray(segments).save(tmp_path / "panoptic.png")
    record = {
        "file_name": str(tmp_path / "image.png"),
        "pan_seg_file_name": str(tmp_path / "panoptic.png"),
        "segments_info": [{"id": 7, "category_id": 0, "isthing": True, "iscrowd": 0}],
        "height": 40,
        "width": 1,
    }
    tiny_config.INPUT.RANDOM_FLIP = "horizontal"
    mapper = UnifiedMapper(tiny_config, True)
    for seed in range(8):  # both with and without the flip
        np.random.seed(seed)
        assert mapper(record)["instances"].gt_classes.tolist() == [0]


KINDS = [("L", "grau é 1.png"), ("CMYK", "druck 中.jpg"), ("RGBA", "a b.png"), ("I;16", "x.png")]


@pytest.mark.parametrize(("mode", "name"), KINDS)
def test_images_of_unusual_modes_are_mapped(mode: str, name: str, tiny_config: CfgNode, tmp_path: Path) -> None:
    """Item 24."""
    gray = np.full((4, 6), 129, dtype=np.uint16 if mode == "I;16" else np.uint8)
    image = Image.fromarray(gray)
    (image if mode == "I;16" else image.convert(mode)).save(tmp_path / name)
    result = UnifiedMapper(tiny_config, False)({"file_name": str(tmp_path / name), "height": 4, "width": 6})
    assert result["image"].shape[0] == 3 and result["image"].dtype == torch.uint8


def test_palette_labels_give_their_indices(tiny_config: CfgNode, tmp_path: Path) -> None:
    """Item 22: training, the checks and evaluation read a label by one function, the ids and not the colors."""
    record = records_of(tiny_config)[0]
    label = Image.open(record["sem_seg_file_name"])
    label.putpalette([value for i in range(256) for value in (255 - i, 3 * i % 256, 7 * i % 256)])
    label.save(tmp_path / "palette.png")
    assert Image.open(tmp_path / "palette.png").mode == "P"
    np.random.seed(0)
    expected = UnifiedMapper(tiny_config, True)(record)["sem_seg"]
    np.random.seed(0)
    result = UnifiedMapper(tiny_config, True)({**record, "sem_seg_file_name": str(tmp_path / "palette.png")})
    assert torch.equal(result["sem_seg"], expected)


def test_segments_without_an_entry_are_errors_if_labels_come_from_them(tiny_config: CfgNode) -> None:
    record = records_of(tiny_config)[0]
    things = [info for info in record["segments_info"] if info["isthing"]]
    lacking = {**record, "segments_info": things}
    instances = mapper_with()(lacking)["instances"]
    assert instances.gt_classes.tolist() == [info["category_id"] for info in things]
    del lacking["sem_seg_file_name"]
    with pytest.raises(DataError, match="are in the PNG but not in segments_info"):
        mapper_with()(lacking)


def test_more_segments_than_a_byte_holds(tmp_path: Path) -> None:
    ids = np.arange(1, 401, dtype=np.int32).reshape(20, 20)
    rgb = np.stack([ids & 255, ids >> 8, 0 * ids], axis=-1).astype(np.uint8)
    for name in ("image", "pan"):
        Image.fromarray(rgb).save(tmp_path / f"{name}.png")
    record = {
        "file_name": str(tmp_path / "image.png"),
        "pan_seg_file_name": str(tmp_path / "pan.png"),
        "height": 20,
        "width": 20,
        "segments_info": [{"id": i, "category_id": i % 8, "isthing": True} for i in range(1, 401)],
    }
    result = mapper_with(T.RandomFlip(1.0), T.ResizeShortestEdge(40, 99))(record)
    expected = np.kron(ids[:, ::-1], np.ones((2, 2), dtype=int))
    assert torch.equal(result["sem_seg"], torch.from_numpy(11 + expected % 8))
    assert torch.equal(result["instances"].gt_classes, torch.arange(1, 401) % 8)
    assert torch.equal(result["instances"].gt_masks.tensor[300], torch.from_numpy(expected == 301))
