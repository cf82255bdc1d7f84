"""Damaged files: small ones are changed in each part, and cut at many lengths."""

import io
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

from unified_seg.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from unified_seg.checkpoint.integrity import COMMENT_BYTES, append_digest, find_not_finite

CONTENT = {"model": {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([1, 2])}, "iteration": 3}


def write_own(file: Path) -> None:
    write_checkpoint(file, CONTENT)


def write_of_others(file: Path) -> None:
    torch.save(CONTENT, file)


def write_safetensors(file: Path) -> None:
    write_checkpoint(file.with_suffix(".safetensors"), CONTENT)
    file.with_suffix(".safetensors").rename(file)


def is_content(found: dict[str, Any]) -> bool:
    same_names = found.keys() == CONTENT.keys() and found["model"].keys() == CONTENT["model"].keys()
    return (
        same_names
        and found["iteration"] == 3
        and all(torch.equal(value, CONTENT["model"][name]) for name, value in found["model"].items())
    )


def count_read(file: Path, variants: list[bytes]) -> int:
    """Return how many damaged variants of a file are read; those that are must have the content of the whole file."""
    number = 0
    for content in variants:
        file.write_bytes(content)
        try:
            found = read_checkpoint(file)
        except CheckpointError as error:
            assert "m.pth" in str(error) and "\n" not in str(error)
        else:
            assert is_content(found)
            number += 1
    return number


def choose_places(content: bytes) -> list[int]:
    """Return each fourth place, and all of the end."""
    return sorted({*range(0, len(content), 4), *range(len(content) - 120, len(content))})


def change_bytes(content: bytes) -> list[bytes]:
    draw = random.Random(0)
    return [
        content[:place] + bytes([content[place] ^ draw.randint(1, 255)]) + content[place + 1 :]
        for place in choose_places(content)
    ]


def test_a_changed_byte_of_a_written_file_is_found(tmp_path: Path) -> None:
    file = tmp_path / "m.pth"
    write_own(file)
    assert count_read(file, change_bytes(file.read_bytes())) == 0


@pytest.mark.parametrize("write", [write_of_others, write_safetensors])
def test_a_changed_byte_of_other_files_is_found_or_changes_nothing(write: Any, tmp_path: Path) -> None:
    file = tmp_path / "m.pth"
    write(file)
    assert count_read(file, change_bytes(file.read_bytes())) < file.stat().st_size


def test_an_entry_that_is_marked_as_a_folder_is_damage(tmp_path: Path) -> None:
    """PyTorch reads nothing of it, without an error: the tensor would have the values that were in memory."""
    file = tmp_path / "m.pth"
    write_of_others(file)
    content = bytearray(file.read_bytes())
    directory = content.rindex(b"PK\x01\x02", 0, content.rindex(b"m/data/1"))
    content[directory + 38] |= 0x10
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.pth: damaged: .*folder"):
        read_checkpoint(file)


@pytest.mark.parametrize("write", [write_own, write_of_others, write_safetensors])
def test_a_cut_is_found(write: Any, tmp_path: Path) -> None:
    file = tmp_path / "m.pth"
    write(file)
    content = file.read_bytes()
    assert count_read(file, [content[:length] for length in choose_places(content)]) == 0


@pytest.mark.parametrize("write", [write_own, write_of_others])
@pytest.mark.parametrize("start", [0, 1000, -512])
def test_zeroed_blocks_are_found(write: Any, start: int, tmp_path: Path) -> None:
    file = tmp_path / "m.pth"
    write(file)
    content = bytearray(file.read_bytes())
    start %= len(content)
    content[start : start + 512] = bytes(len(content[start : start + 512]))
    assert count_read(file, [bytes(content)]) == 0


def test_what_is_written_twice_over_is_found(tmp_path: Path) -> None:
    """Bytes after the end are damage too, as of a file that was written over a longer one."""
    for write in (write_own, write_of_others):
        write(tmp_path / "m.pth")
        assert count_read(tmp_path / "m.pth", [(tmp_path / "m.pth").read_bytes() + b"\0"]) == 0


@pytest.mark.parametrize("mmap", [False, True])
def test_pytorch_and_detectron2_read_a_file_with_a_digest(mmap: bool, tmp_path: Path) -> None:
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    write_checkpoint(tmp_path / "m.pth", {"model": source.state_dict()})
    content = torch.load(tmp_path / "m.pth", weights_only=True, mmap=mmap)
    assert torch.equal(content["model"]["weight"], source.weight)
    DetectionCheckpointer(target).load(str(tmp_path / "m.pth"))
    assert torch.equal(target.weight, source.weight)
    assert torch.equal(torch.load(io.BytesIO((tmp_path / "m.pth").read_bytes()))["model"]["bias"], source.bias)


def test_the_digest_is_all_that_is_added(tmp_path: Path) -> None:
    torch.save(CONTENT, tmp_path / "m.pth")
    before = (tmp_path / "m.pth").read_bytes()
    append_digest(tmp_path / "m.pth")
    after = (tmp_path / "m.pth").read_bytes()
    assert after[: len(before) - 2] == before[:-2] and len(after) == len(before) + COMMENT_BYTES
    with pytest.raises(ValueError, match=r"m\.pth"):
        append_digest(tmp_path / "m.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_every_format_of_pytorch_are_read(legacy: bool, tmp_path: Path) -> None:
    torch.save(CONTENT, tmp_path / "m.pth", _use_new_zipfile_serialization=not legacy)
    assert is_content(read_checkpoint(tmp_path / "m.pth"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.complex64])
def test_the_tensor_that_is_not_finite_is_named(value: float, dtype: torch.dtype) -> None:
    bad = torch.ones(3, 4, dtype=dtype)
    bad[1, 2] = value
    content = {"a": torch.ones(2), "b": [{"c": (torch.zeros(0), bad)}], "d": torch.tensor([1])}
    assert find_not_finite(content) == "b.0.c.1"
    bad[1, 2] = 3.0e4  # finite, but its sums may not be
    assert find_not_finite(content) == ""


def test_containers_that_contain_themselves_are_gone_through_once() -> None:
    content: dict[str, Any] = {"a": []}
    content["a"] += [content, content["a"], torch.tensor(float("nan"))]
    assert find_not_finite(content) == "a.2"
