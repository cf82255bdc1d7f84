"""Custom data as in the README: a folder, eight lines of YAML, no code."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import DefaultTrainer
from panopticapi.utils import rgb2id
from PIL import Image
from pycocotools.coco import COCO
from tiny_model import to_overrides

from unified_seg.errors import UserError
from unified_seg.inference import Predictor
from unified_seg.training.run import run

pytestmark = [pytest.mark.usefixtures("forget_datasets"), pytest.mark.end_to_end]

ROOT = Path(__file__).parents[2]
SIZE = (64, 96)
SKY, FIELD, BARN, TRACTOR = 5, 9, 12, 30
CATEGORIES = [
    {"id": SKY, "name": "sky", "isthing": 0},
    {"id": FIELD, "name": "field", "isthing": 0},
    {"id": BARN, "name": "barn $", "isthing": 1},
    {"id": TRACTOR, "name": "tractor", "isthing": 1},
]
# Of each scene: (segment id, category, rows, columns).
SCENES = [
    [(300, BARN, slice(12, 40), slice(8, 40)), (7, TRACTOR, slice(36, 54), slice(50, 80))],
    [(1, TRACTOR, slice(30, 50), slice(10, 36)), (2, TRACTOR, slice(34, 56), slice(56, 90))],
]
# A fast model with random weights and a learning rate small enough for them.
TINY = [
    *to_overrides(tiny_model.TINY),
    *("MODEL.WEIGHTS", "", "MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", "0"),
    *("MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "INPUT.CROP.SIZE", "(64, 64)", "TEST.EVAL_PERIOD", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(64, 64)", "INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"),
    *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "2", "SOLVER.BASE_LR", "0.001"),
]


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `scenes` of two drawn images, one to train on and one to score."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    folder = tmp_path / "scenes"
    (folder / "images").mkdir(parents=True)
    for index, split in enumerate(("train", "val")):
        draw(folder, split, f"scene {index}", SCENES[index])
    return folder


def draw(folder: Path, split: str, name: str, shapes: list[Any]) -> None:
    ids = np.full(SIZE, 70000)  # more than two bytes
    ids[28:] = 4
    classes = {70000: SKY, 4: FIELD}
    for segment_id, category, rows, columns in shapes:
        ids[rows, columns] = segment_id
        classes[segment_id] = category
    picture = np.stack([ids * 7 % 256, ids * 31 % 256, ids * 101 % 256], axis=-1).astype(np.uint8)
    Image.fromarray(picture).save(folder / "images" / f"{name}.png")
    (folder / split).mkdir()
    coded = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    Image.fromarray(coded).save(folder / split / f"{name}.png")
    image = {"id": 1, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]}
    segments = [{"id": i, "category_id": c, "iscrowd": 0} for i, c in classes.items()]
    annotation = {"image_id": 1, "file_name": f"{name}.png", "segments_info": segments}
    content = {"images": [image], "annotations": [annotation], "categories": CATEGORIES}
    (folder / f"{split}.json").write_text(json.dumps(content))


def readme_config(folder: Path) -> Path:
    """The README's config as a file somewhere else."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own")[2].partition("\n## ")[0]
    (text,) = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    assert len(text.splitlines()) == 8
    file = folder / "scenes.yaml"
    file.write_text(text)
    return file


def arguments(config: Path, folder: Path, *more: str) -> list[str]:
    return ["--config-file", str(config), *more, "OUTPUT_DIR", str(folder / "output"), *TINY]


def test_config_of_the_readme_trains_and_evaluates(scenes: Path, tmp_path: Path) -> None:
    config = readme_config(tmp_path)
    trained = run(arguments(config, tmp_path))
    assert {"sem_seg", "bbox", "segm", "panoptic_seg"} <= trained.keys()
    names = {key.removeprefix("IoU-") for key in trained["sem_seg"] if key.startswith("IoU-")}
    assert names == {"sky", "field", "barn $", "tractor"}
    weights = ["MODEL.WEIGHTS", str(tmp_path / "output/model_final.pth")]
    evaluated = run([*arguments(config, tmp_path, "--eval-only"), *weights])
    for task in ("sem_seg", "panoptic_seg"):
        assert evaluated[task] == pytest.approx(trained[task], nan_ok=True)
    # The weights predict without the config and the data.
    scenes.rename(tmp_path / "moved")
    forget("scenes_train")
    predictor = Predictor.from_checkpoint(weights[1])
    assert [(c.name, c.dataset_id, c.is_thing) for c in predictor.classes.classes] == [
        ("sky", SKY, False), ("field", FIELD, False), ("barn $", BARN, True), ("tractor", TRACTOR, True)
    ]  # fmt: skip
    assert predictor(np.zeros((*SIZE, 3), np.uint8))["sem_seg_labels"].shape == SIZE


def forget(name: str) -> None:
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_detectron2s_own_trainer_trains_a_head_on_custom_data(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/python.md says, with a small network; with Detectron2's mapper the error says what to do."""
    text = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[-1]
    *lines, train = program.strip().splitlines()
    assert train == "Trainer(resolve_config(cfg)).train()"
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    cfg = names["cfg"]
    cfg.merge_from_list([word for item in tiny_model.TINY.items() for word in item])
    cfg.merge_from_list(["OUTPUT_DIR", str(tmp_path), "MODEL.WEIGHTS", "", *TINY[-6:]])
    trainer = names["Trainer"](names["resolve_config"](cfg))
    trainer.train()
    assert trainer.iter == 2 and trainer.storage.latest()["loss_sem_seg"][0] > 0
    assert trainer.model.sem_seg_head.num_classes == 4
    cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    with pytest.raises(UserError, match=r"build_train_loader.*docs/python\.md"):
        DefaultTrainer(names["resolve_config"](cfg)).train()


ALONE = {
    "semantic": ({"SEMANTIC": "scenes/ids", "CLASSES": "scenes/train.json"}, {"sem_seg"}),
    "instances": (
        {"INSTANCES": "scenes/instances.json", "CLASSES": "scenes/train.json"},
        {"bbox", "segm", "errors_segm"},
    ),
}
NO_DETECTOR = [
    *("MODEL.MASK_ON", "False", "MODEL.PROPOSAL_GENERATOR.NAME", "", "MODEL.ROI_HEADS.NAME", ""),
    *("MODEL.PANOPTIC_FUSION.NAME", ""),
]
NO_SEMANTICS = ["MODEL.SEM_SEG_HEAD.NAME", "", "MODEL.PANOPTIC_FUSION.NAME", ""]


def custom_config(folder: Path, entries: list[dict[str, Any]]) -> Path:
    file = folder / "custom.yaml"
    names = [entry["NAME"] for entry in entries]
    bases = [f"{ROOT}/configs/base/unified_fpn.yaml", f"{ROOT}/configs/base/imagenet_r50.yaml"]
    datasets = {"CUSTOM": entries, "TRAIN": names, "TEST": names}
    file.write_text(yaml.safe_dump({"_BASE_": bases, "DATASETS": datasets}))
    return file


@pytest.fixture
def other_ground_truths(scenes: Path) -> Path:
    """A semantic PNG and COCO instances as boxes and polygons, beside the panoptic ground truth."""
    content = json.loads((scenes / "train.json").read_text())
    coded = np.array(Image.open(scenes / "train/scene 0.png")).astype(int)
    ids = coded @ [1, 256, 65536]
    labels = np.zeros(SIZE, dtype=np.uint8)
    for segment in content["annotations"][0]["segments_info"]:
        labels[ids == segment["id"]] = segment["category_id"]
    (scenes / "ids").mkdir()
    (scenes / "images/scene 1.png").unlink()
    Image.fromarray(labels).save(scenes / "ids/scene 0.png")
    annotations = []
    for segment_id, category, rows, columns in SCENES[0]:
        x, y, right, bottom = columns.start, rows.start, columns.stop, rows.stop
        outline = [x, y, right, y, right, bottom, x, bottom]
        box = {"bbox": [x, y, right - x, bottom - y], "segmentation": [outline]}
        annotations.append({"id": segment_id, "image_id": 1, "category_id": category, **box})
    (scenes / "instances.json").write_text(json.dumps({**content, "annotations": annotations}))
    return scenes


@pytest.mark.parametrize("kind", ALONE)
def test_part_of_the_ground_truth_trains_its_part_of_the_model(
    kind: str, other_ground_truths: Path, tmp_path: Path
) -> None:
    ground_truth, tasks = ALONE[kind]
    config = custom_config(tmp_path, [{"NAME": "scenes_alone", "IMAGES": "scenes/images", **ground_truth}])
    results = run([*arguments(config, tmp_path), *(NO_DETECTOR if kind == "semantic" else NO_SEMANTICS)])
    assert results.keys() == tasks


def test_sets_with_different_ground_truths_train_one_model(other_ground_truths: Path, tmp_path: Path) -> None:
    entries = [
        {"NAME": f"scenes_{kind}", "IMAGES": "scenes/images", **ground_truth}
        for kind, (ground_truth, _) in ALONE.items()
    ]
    results = run(arguments(custom_config(tmp_path, entries), tmp_path))
    assert results["scenes_semantic"].keys() == {"sem_seg", "sem_seg_unfused"}
    assert results["scenes_instances"].keys() == {"bbox", "segm", "segm_unfused", "errors_segm"}


UNLABELED = {
    "folder": ({}, None),
    "image info": ({"INSTANCES": "scenes/info.json"}, None),
    "no annotations": ({"INSTANCES": "scenes/info.json"}, []),
}


@pytest.mark.parametrize("kind", UNLABELED)
def test_images_without_ground_truth_are_predicted(kind: str, scenes: Path, tmp_path: Path) -> None:
    """All exports are complete, read by the official libraries, and the training ends as it should."""
    keys, annotations = UNLABELED[kind]
    info = {key: json.loads((scenes / "val.json").read_text())[key] for key in ("images", "categories")}
    info |= {} if annotations is None else {"annotations": annotations}
    (scenes / "info.json").write_text(json.dumps(info))
    (scenes / "new").mkdir()
    (scenes / "images/scene 1.png").rename(scenes / "new/scene 1.png")
    classes = {} if kind == "folder" else {"CLASSES": "scenes/train.json"}
    entries = [
        {"NAME": "scenes_new", "IMAGES": "scenes/new", **keys, **classes},
        {"NAME": "scenes_train", "IMAGES": "scenes/images", "PANOPTIC": "scenes/train.json"},
    ]
    more = ["DATASETS.TRAIN", "('scenes_train',)", "DATASETS.TEST", "('scenes_new',)", "TEST.EVAL_PERIOD", "1"]
    exports = ["TEST.EXPORT", "['coco_panoptic', 'cityscapes_semantic']", "TEST.BEST_CHECKPOINT_METRIC", "segm/AP"]
    results = run([*arguments(custom_config(tmp_path, entries), tmp_path), *more, *exports])
    assert "sem_seg" not in results and "panoptic_seg" not in results
    assert all(np.isnan(list(scores.values())).all() for scores in results.values())
    assert ("segm" in results) == (kind == "no annotations")
    folder = tmp_path / "output/inference/scenes_new"
    (image_id,) = ["scene 1"] if kind == "folder" else [1]
    predicted = json.loads((folder / "panoptic/predictions.json").read_text())
    (annotation,) = predicted["annotations"]
    assert annotation["image_id"] == image_id
    ids = rgb2id(np.array(Image.open(folder / "panoptic" / annotation["file_name"])))
    assert ids.shape == SIZE
    assert set(np.unique(ids)) - {0} == {segment["id"] for segment in annotation["segments_info"]}
    labels = np.array(Image.open(next((folder / "sem_seg_cityscapes").glob("*.png"))))
    assert set(np.unique(labels)) <= {SKY, FIELD, BARN, TRACTOR}
    truth = scenes / "info.json" if kind == "no annotations" else folder / "coco_images.json"
    found = COCO(str(truth)).loadRes(str(folder / "coco_instances_results.json"))
    assert {each["image_id"] for each in found.dataset["annotations"]} <= {image_id}
    assert {each["category_id"] for each in found.dataset["annotations"]} <= {BARN, TRACTOR}
