from pathlib import Path

import pytest
import torch

from unified_seg.checkpoint import (
    CheckpointError,
    forget_last_checkpoint,
    read_checkpoint,
    read_last_checkpoint,
    write_checkpoint,
)


@pytest.mark.parametrize("mmap", [False, True])
def test_written_checkpoint_is_read_again(mmap: bool, tmp_path: Path) -> None:
    file = tmp_path / "m.pth"
    write_checkpoint(file, {"model": {"weight": torch.ones(2)}, "score": 3.5})
    content = read_checkpoint(file, mmap=mmap)
    assert content["score"] == 3.5 and content["model"]["weight"].tolist() == [1, 1]
    assert list(tmp_path.iterdir()) == [file]


def test_interrupted_write_leaves_the_previous_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m.pth"
    write_checkpoint(file, {"score": 1.0})

    def save(content: object, path: Path) -> None:
        path.write_bytes(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(file, {"score": 2.0})
    assert read_checkpoint(file) == {"score": 1.0}


def test_empty_file_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m.pth", {})
    with pytest.raises(CheckpointError, match=r"m\.pth"):
        read_checkpoint(tmp_path / "m.pth")


def test_last_checkpoint_is_read_and_forgotten(tmp_path: Path) -> None:
    assert read_last_checkpoint(tmp_path) == ""
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    assert read_last_checkpoint(tmp_path) == "model_0000001.pth"
    for _ in range(2):
        forget_last_checkpoint(tmp_path)
        assert read_last_checkpoint(tmp_path) == ""
