"""Hostile and damaged checkpoints, names of checkpoints and confusion matrices."""

import io
import json
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from campaigns.hostile import Call, command, harm, mutate, payload, traversal
from unified_seg.checkpoint import write_checkpoint


@payload
def weights_with_code(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    content = {"model": {"weight": harm(draw, outside)}, "iteration": draw.choice([3, harm(draw, outside)])}
    name = draw.choice(["m.pth", "m.pkl", "m.pyth", "m.pt"])
    how = draw.choice(["torch", "legacy", "pickle"])
    if how == "pickle" or name == "m.pkl":
        (inside / name).write_bytes(pickle.dumps(content, protocol=draw.choice([0, 2, 4])))
    else:
        torch.save(content, inside / name, _use_new_zipfile_serialization=how == "torch")
    return "read_weights", name


@payload
def weights_damaged(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    name = draw.choice(["m.pth", "m.pkl"])
    weights = {"weight": torch.arange(64.0), "bias": torch.ones(3, 3)}
    if name == "m.pth":
        torch.save(
            {"model": weights, "iteration": 9}, inside / name, _use_new_zipfile_serialization=draw.random() < 0.7
        )
    else:
        (inside / name).write_bytes(pickle.dumps({"model": {key: value.numpy() for key, value in weights.items()}}))
    (inside / name).write_bytes(mutate(draw, (inside / name).read_bytes()))
    return "read_weights", name


@payload
def weights_in_safetensors(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    name = draw.choice(["m.safetensors", "m.pth"])
    if draw.random() < 0.5:
        content = {"model": {"weight": torch.arange(64.0)}, "note": command(draw, outside)}
        write_checkpoint(inside / "m.safetensors", content)
        (inside / name).write_bytes(mutate(draw, (inside / "m.safetensors").read_bytes()))
    else:
        size = draw.choice([-1, 0, 4, 1 << 20, 1 << 62])
        tensor = {"dtype": draw.choice(["F32", "F4", "X"]), "shape": [size, 1], "data_offsets": [0, max(size, 0) * 4]}
        texts = {"unified_seg": draw.choice(["[" * 100_000, command(draw, outside)])}
        header = json.dumps({command(draw, outside): tensor, "__metadata__": texts}).encode()
        length = draw.choice([len(header), draw.randrange(1 << 63)])
        (inside / name).write_bytes(length.to_bytes(8, "little") + header + bytes(16))
    return "read_weights", name


@payload
def weights_bombs(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    kind = draw.choice(["compressed", "expanded", "fifo", "array", "nested", "sparse"])
    name = "m.pkl" if kind in ("array", "nested") else "m.pth"
    if kind == "compressed":
        torch.save({"model": {"weight": torch.zeros(draw.randint(1, 20) * 1_000_000)}}, inside / "stored")
        with (
            zipfile.ZipFile(inside / "stored") as stored,
            zipfile.ZipFile(inside / name, "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for entry in stored.infolist():
                packed.writestr(entry.filename, stored.read(entry))
    elif kind == "expanded":
        torch.save({"model": {"weight": torch.zeros(1).expand(1 << draw.randint(30, 45))}}, inside / name)
    elif kind == "sparse":
        torch.save(
            {"model": {"weight": torch.sparse_coo_tensor(torch.zeros(1, 1), torch.ones(1), (1 << 45,))}}, inside / name
        )
    elif kind == "fifo":
        os.mkfifo(inside / name)
    elif kind == "array":
        shape = (1 << draw.randint(30, 45),)
        (inside / name).write_bytes(pickle.dumps({"model": Call(np.empty(0).__reduce__()[0], np.ndarray, shape, b"b")}))
    else:
        depth = draw.randint(100, 200_000)  # lists in lists, as the opcodes of a pickle
        opcodes = b"]" * depth + b"a" * (depth - 1)
        (inside / name).write_bytes(b"\x80\x02}X\x05\0\0\0model" + opcodes + b"s.")
    return "read_weights", name


@payload
def last_checkpoints(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    torch.save({"model": {}}, outside / "secret.pth")
    (inside / "link.pth").symlink_to(outside / "secret.pth")
    names = [
        traversal(draw, outside, "secret.pth"),
        "link.pth",
        "",
        "\0",
        "x" * 10_000,
        "missing.pth",
        "..",
        "\x1b[2J.pth",
    ]
    (inside / "last_checkpoint").write_text(draw.choice(names))
    return "read_resumed", None


@payload
def matrices(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    kind = draw.choice(["objects", "bomb", "claim", "damaged", "damaged"])
    names = np.array(["a", "b"])
    if kind == "objects":
        np.savez(inside / "m.npz", confusion=np.array([[harm(draw, outside)]], dtype=object), class_names=names)
    elif kind == "bomb":
        np.savez_compressed(inside / "m.npz", confusion=np.zeros((3000, 3000)), class_names=names)
    elif kind == "claim":
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 2)})
        with zipfile.ZipFile(inside / "m.npz", "w") as file:
            file.writestr("confusion.npy", header.getvalue())
            file.writestr("class_names.npy", header.getvalue())
    else:
        np.savez(inside / "m.npz", confusion=np.eye(2), class_names=names)
        (inside / "m.npz").write_bytes(mutate(draw, (inside / "m.npz").read_bytes()))
    return "read_matrix", "m.npz"
