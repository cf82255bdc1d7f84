import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from unified_seg.checkpoint import Checkpointer, CheckpointError, read_checkpoint, write_checkpoint
from unified_seg.checkpoint.safetensors_files import MAX_HEADER_BYTES


def pack(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


@pytest.mark.parametrize("name", ["m.safetensors", "m.pth", "download"])
def test_weights_load_by_suffix_and_by_content(name: str, tmp_path: Path) -> None:
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    save_file(source.state_dict(), tmp_path / name)
    Checkpointer(target, complete=True).load(str(tmp_path / name))
    assert torch.equal(source.weight, target.weight) and torch.equal(source.bias, target.bias)


def test_what_is_written_is_read_with_its_entries(tmp_path: Path) -> None:
    weight = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    model = {"weight": weight, "same": weight, "part": weight[:, 1], "count": torch.tensor(3), "half": weight.half()}
    entries = {"class_names": ["road", "straße"], "value_range": [0.0, 255.0], "sem_seg/mIoU": 70.5}
    write_checkpoint(tmp_path / "m.safetensors", {"model": model, **entries})
    found = read_checkpoint(tmp_path / "m.safetensors")
    assert {key: value for key, value in found.items() if key != "model"} == entries
    for tensors in (found["model"], load_file(tmp_path / "m.safetensors")):
        assert tensors.keys() == model.keys()
        assert all(
            torch.equal(value, model[name]) and value.dtype == model[name].dtype for name, value in tensors.items()
        )
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html></html>",
        pack(b"{}")[:-1],
        pack(b"[" * 10_000),
        pack(b"{" * 10_000),
        (1 << 62).to_bytes(8, "little") + b"{}",
        (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}",
        pack(json.dumps({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}).encode(), bytes(4)),
        pack(json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1 << 40]}}).encode(), bytes(4)),
        pack(json.dumps({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}).encode(), bytes(4)),
        pack(json.dumps({"__metadata__": {"unified_seg": "[" * 100_000}}).encode()),
        pack(json.dumps({"__metadata__": {"unified_seg": "[]"}}).encode()),
        pack(json.dumps({"__metadata__": {"unified_seg_sha256": "0"}}, separators=(",", ":")).encode()),
    ],
)
def test_hostile_and_damaged_headers_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.safetensors: ") as error:
        read_checkpoint(tmp_path / "m.safetensors")
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_a_tensor_with_the_name_of_the_digest_is_a_tensor(tmp_path: Path) -> None:
    model = {"unified_seg_sha256": torch.ones(2)}
    write_checkpoint(tmp_path / "m.safetensors", {"model": model, "note": '"unified_seg_sha256":"x"'})
    assert torch.equal(read_checkpoint(tmp_path / "m.safetensors")["model"]["unified_seg_sha256"], torch.ones(2))
