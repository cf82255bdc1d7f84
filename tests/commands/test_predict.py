"""tools/predict.py, on a small model with random weights."""

import contextlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from detectron2.config import CfgNode
from held_lock import end_process, hold_lock
from panopticapi.evaluation import pq_compute
from processes import run_ranks
from pycocotools.coco import COCO
from random_model import write_result_of_training

from unified_seg.commands import predict
from unified_seg.data.coco.categories import read_categories
from unified_seg.data.io.label_files import read_label, read_panoptic_ids
from unified_seg_cli.commands import check_dataset, fuse_predictions
from unified_seg_cli.commands.predict import KINDS, main

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).parents[2]
SIZES = {"a/street.png": (64, 128), "b/street.jpg": (50, 61), "top.png": (64, 128)}
THRESHOLD = 0.05  # every score of a random model passes it


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for seed, (name, size) in enumerate(SIZES.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / name), pixels)
    return folder


@pytest.fixture
def weights(tiny_config: CfgNode, tmp_path: Path, forget_datasets: None) -> Path:
    tiny_config.TEST.IMAGES_AT_ONCE = 1
    return write_result_of_training(tiny_config, tmp_path)


def run(weights: Path, images: Path, output: Path, *more: object) -> None:
    words = ["--weights", weights, "--input", images, "--output", output, "--confidence-threshold", THRESHOLD, *more]
    main([str(word) for word in words])


def read_tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def list_different(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Return the names of the files that differ, or that are in one tree alone."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def read_json(file: Path) -> Any:
    return json.loads(file.read_text())


def test_kinds_are_those_of_the_command() -> None:
    assert tuple(predict.WRITERS) == KINDS


@pytest.fixture
def predicted(weights: Path, images: Path, tmp_path: Path) -> Path:
    run(weights, images, tmp_path / "out", "--save", *KINDS)
    return tmp_path / "out"


def test_files_have_the_names_of_the_images_and_the_official_readers_read_them(
    predicted: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name.rpartition(".")[0] for name in SIZES]
    for folder, suffix in (("semantic", "png"), ("panoptic", "png"), ("json", "json"), ("pictures", "jpg")):
        files = sorted(p.relative_to(predicted / folder).as_posix() for p in (predicted / folder).rglob("*.*"))
        assert files == sorted(f"{name}.{suffix}" for name in names)

    panoptic = read_json(predicted / "panoptic.json")
    assert [image["file_name"] for image in panoptic["images"]] == ["top.png", "a/street.png", "b/street.jpg"]
    for image, annotation in zip(panoptic["images"], panoptic["annotations"]):
        size = (image["height"], image["width"])
        assert size == SIZES[image["file_name"]] and annotation["image_id"] == image["id"]
        ids = read_panoptic_ids(predicted / "panoptic" / annotation["file_name"])
        segments = annotation["segments_info"]
        assert {s["id"]: s["area"] for s in segments} == {i: int((ids == i).sum()) for i in np.unique(ids) if i}
        table = read_categories(predicted / "panoptic.json")
        assert all(("score" in s) == table.by_dataset_id[s["category_id"]].is_thing for s in segments)
        # Semantic PNGs have the ids of the data set: those of the segments that are stuff, where there is no thing.
        semantic = read_label(predicted / "semantic" / annotation["file_name"])
        assert set(np.unique(semantic).tolist()) <= set(table.by_dataset_id)
        content = read_json(predicted / "json" / f"{image['id']}.json")
        assert [s["class"] for s in content["segments"]] == [
            table.by_dataset_id[s["category_id"]].name for s in segments
        ]
        assert sum(s["pixels"] for s in content["semantic"]) == size[0] * size[1]
        confidence = read_label(predicted / "confidence" / annotation["file_name"])
        assert confidence.shape == size and 0 < confidence.mean() < 128

    # panopticapi: the predictions are perfect against themselves.
    with contextlib.redirect_stdout(io.StringIO()):
        scores = pq_compute(*[str(predicted / "panoptic.json")] * 2, *[str(predicted / "panoptic")] * 2)
        coco = COCO(str(predicted / "coco_images.json"))
        results = coco.loadRes(str(predicted / "coco_instances_results.json"))
    assert scores["All"]["pq"] == 1.0
    assert results.anns and all(coco.imgs[a["image_id"]] and coco.cats[a["category_id"]] for a in results.anns.values())
    shapes = {i["id"]: (i["height"], i["width"]) for i in coco.imgs.values()}
    assert all(results.annToMask(a).shape == shapes[a["image_id"]] for a in results.anns.values())

    # The project's own tools.
    fuse_predictions.main(
        [
            *("--instances", str(predicted / "coco_instances_results.json"), "--semantic", str(predicted / "semantic")),
            *("--images", str(predicted / "coco_images.json"), "--categories", str(predicted / "panoptic.json")),
            *("--method", "evidence", "--confidences", str(predicted / "confidence")),
            *("--output", str(tmp_path / "fused"), "--score-threshold", str(THRESHOLD)),
        ]
    )
    assert len(read_json(tmp_path / "fused/panoptic.json")["annotations"]) == 3
    entry = {"NAME": "predicted", "IMAGES": str(images), "PANOPTIC": str(predicted / "panoptic.json")}
    (tmp_path / "data.yaml").write_text(f"DATASETS: {{TRAIN: [predicted], CUSTOM: [{json.dumps(entry)}]}}")
    with pytest.raises(SystemExit) as end:
        check_dataset.main(["--config-file", str(tmp_path / "data.yaml"), "--output", str(tmp_path / "check")])
    assert not end.value.code, capsys.readouterr().out


def test_a_killed_run_gives_the_same_files(weights: Path, images: Path, predicted: Path, tmp_path: Path) -> None:
    expected = read_tree(predicted)
    other = tmp_path / "other"
    shutil.copytree(predicted, other)
    log = (other / "log/finished.jsonl").read_bytes().splitlines(keepends=True)
    # Killed after the first image, while the line of the second one was written, and its picture.
    (other / "log/finished.jsonl").unlink()
    (other / "log/0001-0000.jsonl").write_bytes(log[0] + log[1][:40])
    (other / "pictures/a/.street.jpg.0123456789abcdef.tmp").write_bytes(b"half")
    for name in ("panoptic.json", "semantic/a/street.png", "labelme/b/street.json"):
        (other / name).unlink()
    run(weights, images, other, "--save", *KINDS)
    assert list_different(read_tree(other), expected) == []
    # A complete folder is not predicted again.
    before = (other / "semantic/top.png").stat().st_mtime_ns
    run(weights, images, other, "--save", *KINDS)
    assert (other / "semantic/top.png").stat().st_mtime_ns == before
    assert list_different(read_tree(other), expected) == []


def test_processes_share_the_images_and_join_the_results(
    weights: Path, images: Path, predicted: Path, tmp_path: Path
) -> None:
    """The processes know nothing of the data set of the training."""
    words = ["--weights", weights, "--input", images, "--output", tmp_path / "two", "--confidence-threshold", THRESHOLD]
    done = run_ranks(2, ROOT / "tools/predict.py", *words, "--save", *KINDS, env=dict(os.environ))
    assert [each.returncode for each in done] == [0, 0], done[0].stderr + done[1].stderr
    found, expected = read_tree(tmp_path / "two"), read_tree(predicted)
    # Other tests register heads with config keys of their own.
    assert found.pop("log/settings.json") and expected.pop("log/settings.json")
    assert list_different(found, expected) == []


def test_new_images_are_added_and_other_settings_refused(weights: Path, images: Path, tmp_path: Path) -> None:
    run(weights, images, tmp_path / "out", "--save", "panoptic")
    shutil.copy(images / "top.png", images / "a" / "new.png")
    run(weights, images, tmp_path / "out", "--save", "panoptic")
    names = [image["file_name"] for image in read_json(tmp_path / "out/panoptic.json")["images"]]
    assert names == ["top.png", "a/new.png", "a/street.png", "b/street.jpg"]
    for change in (["--save", "semantic"], ["--save", "panoptic", "--opts", "TEST.DETECTIONS_PER_IMAGE", "5"]):
        with pytest.raises(SystemExit, match=r"--output .*out: .*another"):
            run(weights, images, tmp_path / "out", *change)


def test_deleted_files_are_written_again_and_those_of_images_that_are_gone_listed(
    weights: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kinds = tmp_path / "out", ("--save", "json", "panoptic")
    run(weights, images, out, *kinds)
    expected = read_tree(out)
    for name in ("panoptic/top.png", "confidence/a/street.png"):
        (out / name).unlink()
    untouched = (out / "json/b/street.json").stat().st_mtime_ns
    run(weights, images, out, *kinds)
    assert read_tree(out) == expected and (out / "json/b/street.json").stat().st_mtime_ns == untouched

    (images / "a/street.png").unlink()
    run(weights, images, out, *kinds)
    outdated = (out / "outdated.txt").read_text().splitlines()
    assert outdated == ["confidence/a/street.png", "json/a/street.json", "panoptic/a/street.png"]
    assert "outdated.txt" in capsys.readouterr().err
    assert len(read_json(out / "panoptic.json")["images"]) == 2
    for name in outdated:
        (out / name).unlink()
    run(weights, images, out, *kinds)
    assert not (out / "outdated.txt").exists()


def test_a_second_process_is_refused(weights: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    process = hold_lock(tmp_path / "out")
    try:
        with pytest.raises(SystemExit, match=rf"--output .*process {process} .*`--output [^`]*out_2`"):
            run(weights, images, tmp_path / "out", "--save", "semantic")
    finally:
        end_process(process)
    assert not (tmp_path / "out/log").exists()


def test_damaged_images_are_left_out_listed_and_limited(weights: Path, images: Path, tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        (images / name).write_bytes((images / "top.png").read_bytes()[:500])
    with pytest.raises(SystemExit, match=r"2 of 5 images (.|\n)*x\.png(.|\n)*y\.png") as end:
        run(weights, images, tmp_path / "out", "--save", "semantic")
    assert end.value.code not in (0, None)
    assert len((tmp_path / "out/left_out.txt").read_text().splitlines()) == 2
    assert len(list((tmp_path / "out/semantic").rglob("*.png"))) == 3
    with pytest.raises(SystemExit, match="more than 1 images"):
        run(weights, images, tmp_path / "limited", "--save", "semantic", "--max-left-out", 1)


def test_lists_patterns_and_the_folder_of_results(weights: Path, images: Path, tmp_path: Path) -> None:
    (images / "list.txt").write_text("a/street.png\n\nb/street.jpg\n")
    run(weights, images / "list.txt", tmp_path / "one", "--save", "semantic")
    assert sorted(p.name for p in (tmp_path / "one/semantic").iterdir()) == ["a", "b"]
    run(weights, Path(f"{images}/*/street.*"), tmp_path / "two", "--save", "semantic")
    assert read_tree(tmp_path / "one/semantic") == read_tree(tmp_path / "two/semantic")
    # Results below the images are no images.
    run(weights, images, images / "out", "--save", "semantic")
    assert len(list((images / "out/semantic").rglob("*.png"))) == 3
    shutil.copy(images / "top.png", images / "top.jpg")
    with pytest.raises(SystemExit, match=r"top\.jpg and .*top\.png would have the same results"):
        run(weights, images, tmp_path / "three", "--save", "semantic")


def test_a_data_set_is_predicted_with_its_image_ids(weights: Path, tiny_dataset: Any, tmp_path: Path) -> None:
    words = ["--weights", weights, "--dataset", tiny_dataset.val, "--output", tmp_path / "out", "--save", "panoptic"]
    main([str(word) for word in [*words, "pictures", "--confidence-threshold", THRESHOLD]])
    annotations = read_json(tmp_path / "out/panoptic.json")["annotations"]
    assert [a["image_id"] for a in annotations] == ["alpha_000000_000019", "alpha_000001_000019"]
    # With ground truth and the wrong pixels below the predictions: four rows of two panels of 256 rows.
    picture = cv2.imread(str(tmp_path / "out/pictures/alpha_000000_000019_leftImg8bit.jpg"))
    assert picture.shape[1] == 2 * 512 + 4 and picture.shape[0] > 4 * 256


def test_a_video_is_predicted_frame_by_frame(weights: Path, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 12.5, (128, 64))
    for index in range(3):
        writer.write(np.full((64, 128, 3), 60 * index, np.uint8))
    writer.release()
    words = ["--weights", weights, "--video-input", tmp_path / "drive.mp4", "--output", tmp_path / "out"]
    main([str(word) for word in [*words, "--save", "semantic"]])
    assert sorted(p.name for p in (tmp_path / "out/semantic/drive").iterdir()) == [f"{i:06d}.png" for i in range(3)]
    with pytest.raises(SystemExit, match="--save labelme"):
        main([str(word) for word in [*words[:-1], tmp_path / "other", "--save", "labelme"]])


def test_a_format_of_what_the_model_does_not_predict_is_refused(
    correcting_config: CfgNode, images: Path, tmp_path: Path, forget_datasets: None
) -> None:
    weights = write_result_of_training(correcting_config, tmp_path)
    with pytest.raises(SystemExit, match=r"--save panoptic: .*sem_seg"):
        run(weights, images, tmp_path / "out", "--save", "panoptic")
    # A model that predicts its errors has a map of them, and labelme gets its semantic map.
    run(weights, images, tmp_path / "out", "--save", "json", "labelme")
    assert read_label(tmp_path / "out/error/top.png").shape == (64, 128)
    assert read_json(tmp_path / "out/labelme/top.json")["imagePath"] == "../../images/top.png"


def test_an_image_that_has_changed_is_predicted_again(predicted: Path, weights: Path, images: Path) -> None:
    assert cv2.imwrite(str(images / "top.png"), np.zeros((32, 80, 3), dtype=np.uint8))
    run(weights, images, predicted, "--save", *KINDS)
    assert read_label(predicted / "semantic/top.png").shape == (32, 80)
    image = read_json(predicted / "panoptic.json")["images"][0]
    assert (image["height"], image["width"]) == (32, 80)
