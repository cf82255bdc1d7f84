"""Small exports of annotation tools as data sets; but for cityscapesScripts, they were written by hand.

docs/data.md lists the tools and the versions of their formats. Each is a hen of 3 x 4 pixels and its cow behind it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from PIL import Image

from unified_seg.data.conversion.colors_to_ids import convert_colors
from unified_seg.data.conversion.labelme_to_instances import convert_labelme
from unified_seg.data.datasets.custom import CustomDataset
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.problems import Problem
from unified_seg.data.validation.checks import check_record

SIZE = (8, 12)
HEN, COW = [3, 2, 7, 2, 7, 5, 3, 5], [0, 5, 12, 5, 12, 8, 0, 8]
HEN_BOX, COW_BOX = [3, 2, 4, 3], [0, 5, 12, 3]

# CVAT, "COCO 1.0" (Datumaro): annotations/instances_default.json
CVAT = {
    "licenses": [{"name": "", "id": 0, "url": ""}],
    "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
    "categories": [{"id": 1, "name": "hen", "supercategory": ""}, {"id": 2, "name": "cow", "supercategory": ""}],
    "images": [
        {
            "id": 1,
            "width": 12,
            "height": 8,
            "file_name": "a.png",
            "license": 0,
            "flickr_url": "",
            "coco_url": "",
            "date_captured": 0,
        }
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            # A brush mask has run lengths, a polygon is one.
            "segmentation": {"counts": [26, 3, 5, 3, 5, 3, 5, 3, 43], "size": [8, 12]},
            "area": 12.0,
            "bbox": [3.0, 2.0, 4.0, 3.0],
            "iscrowd": 0,
            "attributes": {"occluded": False},
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 2,
            "segmentation": [[float(v) for v in COW]],
            "area": 36.0,
            "bbox": [0.0, 5.0, 12.0, 3.0],
            "iscrowd": 0,
            "attributes": {"occluded": True},
        },
    ],
}

# VIA 2.0: a list of numbers as segmentation in some versions, a list of it in others; the attribute names the
# supercategory.
VIA = {
    "info": {"year": 2026, "version": "1.0", "description": "VIA project exported to COCO format"},
    "images": [
        {
            "id": 1,
            "width": 12,
            "height": 8,
            "file_name": "a.png",
            "license": 0,
            "flickr_url": "a.png",
            "coco_url": "a.png",
        }
    ],
    "annotations": [
        {"segmentation": HEN, "area": 12, "bbox": HEN_BOX, "iscrowd": 0, "id": 1, "image_id": "1", "category_id": 1},
        {"segmentation": [COW], "area": 36, "bbox": COW_BOX, "iscrowd": 0, "id": 2, "image_id": 1, "category_id": 2},
    ],
    "licenses": [{"id": 0, "name": "Unknown License", "url": ""}],
    "categories": [
        {"supercategory": "animal", "id": 1, "name": "hen"},
        {"supercategory": "animal", "id": 2, "name": "cow"},
    ],
}

# Roboflow, "COCO Segmentation": _annotations.coco.json beside the images, with a root category.
ROBOFLOW = {
    "info": {"year": "2026", "version": "1", "description": "Exported from roboflow.com", "contributor": ""},
    "licenses": [{"id": 1, "url": "", "name": "CC BY 4.0"}],
    "categories": [
        {"id": 0, "name": "farm", "supercategory": "none"},
        {"id": 1, "name": "hen", "supercategory": "farm"},
        {"id": 2, "name": "cow", "supercategory": "farm"},
    ],
    "images": [{"id": 0, "license": 1, "file_name": "a.png", "height": 8, "width": 12, "extra": {"name": "a.png"}}],
    "annotations": [
        {"id": 0, "image_id": 0, "category_id": 1, "bbox": HEN_BOX, "area": 12, "segmentation": [HEN], "iscrowd": 0},
        {"id": 1, "image_id": 0, "category_id": 2, "bbox": COW_BOX, "area": 36, "segmentation": [COW], "iscrowd": 0},
    ],
}

# Label Studio, "COCO": result.json, ids from 0, "ignore" beside "iscrowd".
LABEL_STUDIO = {
    "images": [{"width": 12, "height": 8, "id": 0, "file_name": "a.png"}],
    "categories": [{"id": 0, "name": "hen"}, {"id": 1, "name": "cow"}],
    "annotations": [
        {
            "id": i,
            "image_id": 0,
            "category_id": i,
            "segmentation": [polygon],
            "bbox": box,
            "ignore": 0,
            "iscrowd": 0,
            "area": 12,
        }
        for i, (polygon, box) in enumerate([(HEN, HEN_BOX), (COW, COW_BOX)])
    ],
    "info": {"year": 2026, "version": "1.0", "description": "", "contributor": "Label Studio", "url": ""},
}

# Label Studio, "COCO" of brush labels (label-studio-sdk, brush_to_coco): colors in hexadecimal, boxes without a mask.
LABEL_STUDIO_BRUSH = {
    **LABEL_STUDIO,
    "categories": [
        {"id": i, "name": name, "supercategory": "", "color": f"#0{i}fF00", "metadata": {}}
        for i, name in enumerate(["hen", "cow"])
    ],
    "images": [{"id": 0, "file_name": "a.png", "path": "/data/upload/1/a.png", "width": 12, "height": 8}],
}

# Supervisely, its app "Export to COCO": the class is the supercategory too, iscrowd and attributes as in COCO.
SUPERVISELY = {
    "info": {"description": "", "url": "None", "version": "1.0", "year": 2026, "contributor": "Supervisely"},
    "licenses": [{"url": "None", "id": 0, "name": "None"}],
    "images": [{"license": "None", "file_name": "a.png", "url": "None", "height": 8, "width": 12, "id": 7}],
    "annotations": [
        {"segmentation": [HEN], "area": 12.0, "iscrowd": 0, "image_id": 7, "bbox": HEN_BOX, "category_id": 1, "id": 1},
        {"segmentation": [COW], "area": 36.0, "iscrowd": 0, "image_id": 7, "bbox": COW_BOX, "category_id": 2, "id": 2},
    ],
    "categories": [
        {"supercategory": "hen", "id": 1, "name": "hen"},
        {"supercategory": "cow", "id": 2, "name": "cow"},
    ],
}

EXPORTS = {
    "CVAT": CVAT,
    "VIA": VIA,
    "Roboflow": ROBOFLOW,
    "Label Studio": LABEL_STUDIO,
    "Label Studio, brush": LABEL_STUDIO_BRUSH,
    "Supervisely": SUPERVISELY,
}


@pytest.fixture
def farm(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "images/a.png")
    return tmp_path


@pytest.mark.parametrize("tool", EXPORTS)
def test_coco_exports_are_instances(tool: str, farm: Path) -> None:
    (farm / "export.json").write_text(json.dumps(EXPORTS[tool]))
    dataset = CustomDataset.from_entry({"NAME": "farm", "IMAGES": "images", "INSTANCES": "export.json"}, farm)
    table = dataset.read_table()
    assert [(c.name, c.is_thing, c.category) for c in table.classes] == [("hen", True, "hen"), ("cow", True, "cow")]
    found: list[Problem] = []
    (record,) = dataset.load(found.append)
    check_record(record, table, found.append)
    assert not [str(p) for p in found if p.is_error]
    assert [a["category_id"] for a in record["annotations"]] == [0, 1]
    assert [list(a["bbox"]) for a in record["annotations"]] == [HEN_BOX, COW_BOX]


def test_labelme_files_are_converted(farm: Path) -> None:
    """labelme 5 to 7."""
    shapes = [
        {
            "label": label,
            "points": np.reshape(polygon, (-1, 2)).tolist(),
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for label, polygon in (("hen", HEN), ("cow", COW))
    ]
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "../images/a.png", "imageData": None}
    (farm / "labels").mkdir()
    (farm / "labels/a.json").write_text(json.dumps({**content, "imageHeight": SIZE[0], "imageWidth": SIZE[1]}))
    convert_labelme(farm / "labels", farm / "export.json", image_root=farm / "images")
    dataset = CustomDataset.from_entry({"NAME": "farm", "IMAGES": "images", "INSTANCES": "export.json"}, farm)
    (record,) = dataset.load()
    assert [list(a["bbox"]) for a in record["annotations"]] == [HEN_BOX, COW_BOX]


def check_semantic(farm: Path, entry: dict[str, Any], classes: tuple[str, str] = ("hen", "cow")) -> None:
    dataset = CustomDataset.from_entry({"NAME": "farm", "IMAGES": "images", **entry}, farm)
    table = dataset.read_table()
    (record,) = dataset.load()
    check_record(record, table)
    labels = read_semantic_ground_truth(record, table)
    names = {n: int((labels == i).sum()) for i, n in enumerate(table.semantic_names)}
    assert [names[name] for name in classes] == [12, 36]


def paint(hen: Any, cow: Any, other: Any = 0) -> np.ndarray:
    pixels = np.empty((*SIZE, *np.shape(hen)), dtype=np.uint16 if np.max(hen) > 255 else np.uint8)
    pixels[:] = other
    pixels[2:5, 3:7], pixels[5:] = hen, cow
    return pixels


def test_segmentation_masks_of_cvat_are_converted(farm: Path) -> None:
    """CVAT, "Segmentation mask 1.1": SegmentationClass and labelmap.txt."""
    (farm / "SegmentationClass").mkdir()
    Image.fromarray(paint((250, 50, 83), (51, 221, 255))).save(farm / "SegmentationClass/a.png")
    legend = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncow:51,221,255::\nhen:250,50,83::\n"
    (farm / "labelmap.txt").write_text(legend)
    convert_colors(farm / "SegmentationClass", farm / "labelmap.txt", farm / "labels", void=["background"])
    check_semantic(farm, {"SEMANTIC": "labels", "CLASSES": "labels/classes.yaml"})


def test_machine_masks_of_supervisely_are_converted(farm: Path) -> None:
    """Supervisely, "Export as masks": the RGB colors of masks_machine are in obj_class_to_machine_color.json."""
    (farm / "masks_machine").mkdir()
    Image.fromarray(paint((1, 1, 1), (2, 2, 2))).save(farm / "masks_machine/a.png")
    (farm / "legend.csv").write_text("name,r,g,b\nbackground,0,0,0\nhen,1,1,1\ncow,2,2,2\n")
    convert_colors(farm / "masks_machine", farm / "legend.csv", farm / "labels", void=["background"])
    check_semantic(farm, {"SEMANTIC": "labels", "CLASSES": "labels/classes.yaml"})


def test_maps_of_cityscapes_scripts_are_semantic(farm: Path) -> None:
    """json2labelImg of cityscapesScripts: _gtFine_labelIds.png beside _leftImg8bit.png."""
    (farm / "images/a.png").rename(farm / "images/a_leftImg8bit.png")
    (farm / "gtFine").mkdir()
    objects = [
        {"label": "car", "polygon": [[0, 5], [11, 5], [11, 7], [0, 7]]},
        {"label": "person", "polygon": [[3, 2], [6, 2], [6, 4], [3, 4]]},
    ]
    (farm / "a.json").write_text(json.dumps({"imgHeight": 8, "imgWidth": 12, "objects": objects}))
    json2labelImg(str(farm / "a.json"), str(farm / "gtFine/a_gtFine_labelIds.png"))
    (farm / "classes.yaml").write_text("[{name: hen, id: 24}, {name: cow, id: 26}]")
    endings = {"IMAGE_ENDING": "_leftImg8bit.png", "SEMANTIC_ENDING": "_gtFine_labelIds.png"}
    check_semantic(farm, {"SEMANTIC": "gtFine", "CLASSES": "classes.yaml", "IGNORE": [0], **endings})


def test_panoptic_files_of_cityscapes_scripts_are_panoptic(farm: Path) -> None:
    """createPanopticImgs of cityscapesScripts; it writes a_gtFine_leftImg8bit.png, which no image is called."""
    (farm / "images/a.png").rename(farm / "images/a_leftImg8bit.png")
    (farm / "gtFine/val/city").mkdir(parents=True)
    Image.fromarray(paint(24001, 26001)).save(farm / "gtFine/val/city/a_gtFine_instanceIds.png")
    convert2panoptic(str(farm / "gtFine"), setNames=["val"])
    json_file = farm / "gtFine/cityscapes_panoptic_val.json"
    json_file.write_text(json_file.read_text().replace("_gtFine_leftImg8bit", "_leftImg8bit"))
    check_semantic(farm, {"PANOPTIC": "gtFine/cityscapes_panoptic_val.json"}, ("person", "car"))
