import os
from pathlib import Path

import pytest

from unified_seg.config import ConfigError
from unified_seg.training.run_setup import prepare_output_folder


def test_folder_is_created_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    prepare_output_folder(folder)
    (folder / "log.txt").write_text("x")
    (folder / "model_final.pth").symlink_to("/nowhere")  # never opened to be written to
    prepare_output_folder(folder)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "name", ["log.txt", "log.txt.rank1", "metrics.json", "config.yaml", "events.out.tfevents.1", "unreadable.txt"]
)
def test_link_at_a_name_that_is_opened_in_place_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigError, match=rf"OUTPUT_DIR.*{name} is a link"):
        prepare_output_folder(tmp_path)
    assert not (tmp_path / "victim").exists()


def test_fifo_and_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"OUTPUT_DIR"):
        prepare_output_folder(tmp_path / "file" / "output")
    os.mkfifo(tmp_path / "log.txt")
    with pytest.raises(ConfigError, match=r"log\.txt is no regular file"):
        prepare_output_folder(tmp_path)
