"""tools/demo.py, on a small model with random weights."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_model import write_random_model

from unified_seg.commands import demo
from unified_seg.data.problems import DataError
from unified_seg.errors import UserError
from unified_seg_cli.commands.demo import main

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def command(tiny_config, tmp_path):
    """Builds a command line; the model finds something, since every score of a random model passes 0.05."""
    config, weights = write_random_model(tiny_config, tmp_path)

    def build(*arguments: object, weights: Path | str = weights) -> list[str]:
        head = ["--config-file", config, *arguments, "--confidence-threshold", 0.05]
        return [str(word) for word in [*head, "--opts", "MODEL.WEIGHTS", weights]]

    return build


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index, size in enumerate([(64, 128), (50, 61), (64, 128)]):
        pixels = np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"street [{index}].png"), pixels)
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_a_folder_is_drawn_into_a_folder(command, images, tmp_path):
    main(command("--input", images, "--output", tmp_path / "new" / "drawn"))
    drawn = sorted((tmp_path / "new" / "drawn").iterdir())
    assert [file.name for file in drawn] == [f"street [{i}].png" for i in range(3)]
    picture = cv2.imread(str(drawn[0]))
    # Two by two panels of 512 pixels: the model predicts semantic, instances and panoptic.
    assert picture.shape[1] == 2 * 512 + 4 and picture.shape[0] > 2 * 256


def test_a_fusion_that_refines_is_drawn_before_and_after(command, images, tmp_path, capsys):
    fusion = ["MODEL.PANOPTIC_FUSION.NAME", "SemanticGuidedFusion", "MODEL.UNIFIED.OUTPUT", "compact"]
    main([*command("--input", images / "street [0].png", "--output", tmp_path / "drawn.png"), *fusion])
    picture = cv2.imread(str(tmp_path / "drawn.png"))
    # Three by two: input, semantic before and after; panoptic, instances before and after.
    assert picture.shape[1] == 3 * 512 + 2 * 4 and picture.shape[0] > 2 * 256
    assert "found by semantics), " in capsys.readouterr().out


def test_a_pyramidal_output_is_drawn_with_its_levels(tiny_config, command, images, tmp_path):
    cfg = tiny_config
    cfg.MODEL.SEM_SEG_HEAD.NAME, cfg.MODEL.UNIFIED.OUTPUT = "PyramidalOutputHead", "compact"
    cfg.MODEL.SEM_SEG_HEAD.PYRAMID.UNITY_DIM = 16
    write_random_model(cfg, tmp_path)
    main(command("--input", images / "street [0].png", "--output", tmp_path / "drawn.png"))
    picture = cv2.imread(str(tmp_path / "drawn.png"))
    # Two by two panels of the predictions, and two by two of the levels.
    assert picture.shape[1] == 2 * 512 + 4 and picture.shape[0] > 4 * 256


def test_a_data_set_is_drawn_with_ground_truth_and_wrong_pixels(tiny_dataset, command, images, tmp_path):
    main(command("--dataset", tiny_dataset.val, "--output", tmp_path / "drawn"))
    files = sorted((tmp_path / "drawn").iterdir())
    assert [file.name for file in files] == [f"alpha_00000{i}_000019_leftImg8bit.png" for i in range(2)]
    # Two by two: input, semantic, instances, panoptic; below, ground truth of the three, and the wrong pixels.
    picture = cv2.imread(str(files[0]))
    assert picture.shape[1] == 2 * 512 + 4 and picture.shape[0] > 4 * 256
    # The same as an image of nobody's data set has no ground truth.
    main(command("--input", images / "street [0].png", "--output", tmp_path / "drawn.png"))
    assert cv2.imread(str(tmp_path / "drawn.png")).shape[0] < 3 * 256


def test_a_model_that_predicts_its_errors_is_drawn_with_the_true_ones(
    correcting_config, tiny_dataset, command, images, tmp_path
):
    write_random_model(correcting_config, tmp_path)
    main(command("--dataset", tiny_dataset.val, "--output", tmp_path / "drawn"))
    # Input, semantic map before and after correction, error probability, true errors: rows of three; below two.
    picture = cv2.imread(str(next((tmp_path / "drawn").iterdir())))
    assert picture.shape[1] == 3 * 512 + 2 * 4 and picture.shape[0] > 3 * 256
    main(command("--input", images / "street [0].png", "--output", tmp_path / "drawn.png"))
    assert cv2.imread(str(tmp_path / "drawn.png")).shape[1] == 2 * 512 + 4


def test_an_unknown_data_set_is_named(command, tmp_path):
    with pytest.raises(SystemExit, match=r"ConfigError: DATASETS\.TEST: .*'no_such_set'"):
        main(command("--dataset", "no_such_set", "--output", tmp_path / "drawn"))


def test_drawing_twice_gives_the_same_picture(command, images, tmp_path):
    source = images / "street [0].png"
    for name in ("a.png", "b.png"):
        main(command("--input", source, "--output", tmp_path / name))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_outputs_that_overwrite_something_are_refused(tmp_path):
    a, b = tmp_path / "a" / "street.png", tmp_path / "b" / "street.png"
    with pytest.raises(UserError, match=r"drawn/street\.png"):
        demo.output_files([a, b], tmp_path / "drawn")
    with pytest.raises(UserError, match=r"drawn\.png: one file for 2 images"):
        demo.output_files([a, b], tmp_path / "drawn.png")
    a.parent.mkdir()
    a.touch()
    with pytest.raises(UserError, match="would overwrite the input"):
        demo.output_files([a], a.parent)
    assert demo.output_files([tmp_path / "x.tif"], tmp_path) == [tmp_path / "x.tif.png"]


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"--output: .*file/drawn"):
        demo.output_files([tmp_path / "street.png"], tmp_path / "file" / "drawn")


def test_an_unreadable_image_is_named(command, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(SystemExit, match=r"UnreadableError: .*broken\.png"):
        main(command("--input", tmp_path / "broken.png", "--output", tmp_path / "drawn.png"))


def test_a_damaged_image_is_left_out_and_named(command, images, tmp_path, capsys):
    (images / "a damaged.png").write_bytes((images / "street [0].png").read_bytes()[:3000])
    (images / "text.jpg").write_text("<html>")
    with pytest.raises(SystemExit, match=r"2 of 5 images (.|\n)*a damaged\.png(.|\n)*text\.jpg") as end:
        main(command("--input", images, "--output", tmp_path / "drawn"))
    assert end.value.code not in (0, None)
    assert sorted(file.name for file in (tmp_path / "drawn").iterdir()) == [f"street [{i}].png" for i in range(3)]
    assert "a damaged.png" in capsys.readouterr().err


def test_a_tree_of_folders_is_drawn_into_a_tree(command, images, tmp_path):
    for index, folder in enumerate(("a", "b/c")):
        (images / folder).mkdir(parents=True)
        (images / f"street [{index}].png").rename(images / folder / "street.png")
    (images / "__MACOSX").mkdir()
    for name in ("._street.png", "b/.DS_Store", "__MACOSX/street.png", "Thumbs.db"):
        (images / name).write_bytes(b"\0\5\26\7")
    # Twice: pictures of the first run are not inputs of the second one.
    for _ in range(2):
        main(command("--input", images, "--output", images / "drawn"))
    drawn = sorted(file.relative_to(images / "drawn") for file in (images / "drawn").rglob("*.png"))
    assert list(map(str, drawn)) == ["a/street.png", "b/c/street.png", "street [2].png"]
    main(command("--input", f"{images}/*/street.png", "--output", tmp_path / "one"))
    assert [str(file.relative_to(tmp_path / "one")) for file in (tmp_path / "one").rglob("*.png")] == ["a/street.png"]


@pytest.mark.parametrize("name", ["out.gif", "out.tif", "out.mp4", "out.MKV", "out.bmp"])
def test_pictures_of_another_kind_are_refused(name, tmp_path):
    with pytest.raises(UserError, match=rf"--output .*{name}.*\.png"):
        demo.output_files([tmp_path / "a.png"], tmp_path / name)
    (tmp_path / name).mkdir()
    assert demo.output_files([tmp_path / "a.png"], tmp_path / name) == [tmp_path / name / "a.png"]


@pytest.mark.parametrize("name", ["out.mkv", "out.AVI", "out.mov"])
def test_videos_are_written_to_the_file_that_output_names(command, name, tmp_path):
    write_video(tmp_path / "drive.mp4", 2)
    main(command("--video-input", tmp_path / "drive.mp4", "--output", tmp_path / name))
    assert (tmp_path / name).is_file()
    video = cv2.VideoCapture(str(tmp_path / name))
    assert video.read()[0] and video.read()[0] and not video.read()[0]


@pytest.mark.parametrize("name", ["out.webm", "out.gif", "out.png"])
def test_videos_of_another_kind_are_refused(command, name, tmp_path):
    write_video(tmp_path / "drive.mp4", 1)
    with pytest.raises(SystemExit, match=rf"--output .*{name}.*\.mp4"):
        main(command("--video-input", tmp_path / "drive.mp4", "--output", tmp_path / name))
    assert not (tmp_path / name).exists()


def test_missing_weights_are_named(command, images, tmp_path):
    with pytest.raises(SystemExit, match=r"CheckpointError: weights absent\.pth"):
        main(command("--input", images, "--output", tmp_path / "drawn", weights="absent.pth"))


def write_video(file: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 12.5, (128, 64))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(np.full((64, 128, 3), 60 * index, np.uint8))
    writer.release()


def test_a_video_is_drawn_frame_by_frame(command, tmp_path):
    write_video(tmp_path / "drive.mp4", 4)
    main(command("--video-input", tmp_path / "drive.mp4", "--output", tmp_path / "drawn"))
    video = cv2.VideoCapture(str(tmp_path / "drawn" / "drive.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    shapes = []
    while (read := video.read())[0]:
        shapes.append(read[1].shape)
    assert len(shapes) == 4 and len(set(shapes)) == 1
    assert shapes[0][0] % 2 == 0 and shapes[0][1] == 2 * 512 + 4


def test_a_video_that_cannot_be_used_is_named(command, tmp_path):
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(SystemExit, match=r"UserError: --video-input .*notes\.mp4"):
        main(command("--video-input", tmp_path / "notes.mp4", "--output", tmp_path / "drawn"))
    with pytest.raises(SystemExit, match="there is no such file"):
        main(command("--video-input", tmp_path / "absent.mp4", "--output", tmp_path / "drawn"))
    write_video(tmp_path / "drive.mp4", 1)
    with pytest.raises(SystemExit, match="would overwrite the input"):
        main(command("--video-input", tmp_path / "drive.mp4", "--output", tmp_path))


def test_images_that_fail_do_not_end_the_others(command, images, tmp_path, capsys):
    name = b"strange \xff\x1b[2J.png"  # neither UTF-8 nor fit for a terminal
    shutil.copy(images / "street [0].png", os.path.join(os.fsencode(images), name))
    os.mkfifo(images / "pipe.png")
    long = images / ("x" * 250 + ".bmp")  # the name of its picture would be longer than file systems allow
    long.symlink_to(images / "street [0].png")
    with pytest.raises(SystemExit) as end:
        main(command("--input", images, "--output", tmp_path / "drawn"))
    printed = capsys.readouterr()
    assert "2 of 6 images" in str(end.value) and "pipe.png" in str(end.value) and "xxx" in str(end.value)
    assert len(os.listdir(tmp_path / "drawn")) == 4
    assert "\x1b" not in printed.out + str(end.value) and r"\udcff\x1b[2J" in printed.out


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\nsecret.mp4\n", "ffconcat version 1.0\nfile secret.mp4\n", ""])
def test_a_playlist_is_no_video(text, command, tmp_path):
    (tmp_path / "a.mp4").write_text(text)
    with pytest.raises(SystemExit, match=r"a\.mp4: not a video"):
        main(command("--video-input", tmp_path / "a.mp4", "--output", tmp_path / "drawn.mp4"))
    assert not list(tmp_path.glob("*drawn*"))


def test_an_interrupted_video_does_not_have_its_final_name(command, tmp_path, monkeypatch):
    video = tmp_path / "a.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 5, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    monkeypatch.setattr(demo, "_pad_to_even", lambda picture: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit):
        main(command("--video-input", video, "--output", tmp_path / "drawn.mp4"))
    assert not [file for file in tmp_path.iterdir() if "drawn" in file.name]
