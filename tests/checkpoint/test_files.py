import codecs
import os
import pickle
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.checkpoint import CheckpointError, read_checkpoint, write_checkpoint


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


def write_compressed(path: Path) -> None:
    """Write a checkpoint of 40 MB of zeros whose entries are compressed, in a few kilobytes."""
    torch.save({"model": {"weight": torch.zeros(10_000_000)}}, path)
    with zipfile.ZipFile(path) as stored:
        entries = {entry.filename: stored.read(entry) for entry in stored.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)


def write_expanded(path: Path) -> None:
    torch.save({"model": {"weight": torch.zeros(1).expand(1 << 40)}}, path)


def write_huge_array(path: Path) -> None:
    class Huge:
        def __reduce__(self) -> tuple[Any, ...]:
            return np.empty(0).__reduce__()[0], (np.ndarray, (1 << 40,), b"b")

    path.with_suffix(".pkl").write_bytes(pickle.dumps({"model": {"weight": Huge()}}))


def write_encoded(path: Path) -> None:
    class Encoded:
        def __reduce__(self) -> tuple[Any, ...]:
            return codecs.encode, ("x", "rot13")

    path.with_suffix(".pkl").write_bytes(pickle.dumps({"model": {"weight": Encoded()}}, protocol=2))


@pytest.mark.parametrize("write", [write_compressed, write_expanded, write_huge_array, write_encoded])
def test_files_that_claim_more_than_they_hold_are_refused(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "m.pth")
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 1_000_000
    with pytest.raises(CheckpointError, match=file.name):
        read_checkpoint(file)


@pytest.mark.parametrize("suffix", ["pth", "pkl"])
def test_fifo_is_refused_at_once(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"m.{suffix}")
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_checkpoint(tmp_path / f"m.{suffix}")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_damage_is_a_checkpoint_error_or_harmless(data: st.DataObject, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    torch.save({"model": {"weight": torch.arange(4.0)}, "iteration": 3}, folder / "m.pth")
    (folder / "m.pkl").write_bytes(pickle.dumps({"model": {"weight": np.arange(4.0)}}))
    file = folder / data.draw(st.sampled_from(["m.pth", "m.pkl"]))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        read_checkpoint(file)
    except CheckpointError as error:
        assert "\n" not in str(error)


def test_disk_without_space_is_said_and_the_older_file_stays(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m.pth", {"score": 1.0})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"m\.pth: can't be written: "):
            write_checkpoint(tmp_path / "m.pth", {"model": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_checkpoint(tmp_path / "m.pth") == {"score": 1.0} and len(list(tmp_path.iterdir())) == 1
