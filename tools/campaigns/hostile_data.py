"""Hostile and damaged images, annotations, lists of classes and archives."""

import io
import json
import os
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from campaigns.hostile import mutate, payload, traversal, write_eps


@payload
def images(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    name = draw.choice(["a.jpg", "a.png", "a.tif", "a.bmp", "a.webp", "a.ppm"])
    kind = draw.choice(["eps", "bomb", "damaged", "damaged", "fifo", "text", "folder", "tiff", "playlist"])
    if kind == "eps":
        write_eps(inside / name, outside)
    elif kind == "bomb":
        header = struct.pack(
            ">IIBBBBB", *(draw.choice([1 << 14, 1 << 20, (1 << 31) - 1]) for _ in range(2)), 8, 2, 0, 0, 0
        )
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
        parts = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
        (inside / name).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    elif kind == "damaged":
        data, format = io.BytesIO(), draw.choice(["JPEG", "PNG", "TIFF", "BMP", "WEBP", "PPM"])
        pixels = np.random.default_rng(draw.randrange(1 << 30)).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(data, format=format)
        (inside / name).write_bytes(mutate(draw, data.getvalue()))
    elif kind == "fifo":
        os.mkfifo(inside / name)
    elif kind == "folder":
        (inside / name).mkdir()
    elif kind == "tiff":
        entries = [
            (256, 4, 1, draw.choice([16, 1 << 31])),
            (257, 4, 1, draw.choice([16, 1 << 31])),
            (273, 4, 1 << 30, 8),
            (277, 3, 1, draw.choice([1, 60_000])),
            (258, 3, 1, 16),
        ]
        body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
        (inside / name).write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4))
    else:
        (inside / name).write_text(
            "#EXTM3U\n#EXTINF:1,\nfile://" + str(outside / "secret.png") if kind == "playlist" else "\x1b[2J" * 100
        )
    return "read_picture", name


def coco(draw: random.Random) -> dict[str, Any]:
    image = {"id": 1, "file_name": "1.png", "height": 8, "width": 8}
    square = [0, 0, 4, 0, 4, 4, 0, 4]
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "segmentation": [square],
        "bbox": [0, 0, 4, 4],
        "area": 16,
        "iscrowd": 0,
    }
    return {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "a", "isthing": 1}]}


@payload
def annotations(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    (inside / "images").mkdir()
    Image.new("RGB", (8, 8)).save(inside / "images" / "1.png")
    content = coco(draw)
    image, annotation, category = (content[key][0] for key in ("images", "annotations", "categories"))
    changes: list[Callable[[], Any]] = [
        lambda: image.update(file_name=traversal(draw, outside, "secret.png")),
        lambda: image.update(file_name=draw.choice(["\0", "", "..", "/", "x" * 5000, "\udc80.png", "\x1b[2J.png"])),
        lambda: image.update(height=draw.choice([0, -1, 1 << 40, 1e300, "8", None])),
        lambda: annotation.update(segmentation=[[draw.choice([1e9, -1e300, float("inf"), float("nan")])] * 8]),
        lambda: annotation.update(
            segmentation={
                "size": [8, 1 << draw.randint(3, 40)],
                "counts": draw.choice([[64], "04L", "x" * 1000, [1 << 62]]),
            }
        ),
        lambda: annotation.update(bbox=[draw.choice([1e308, -5, "x", None])] * draw.randint(0, 5)),
        lambda: annotation.update(category_id=draw.choice([0, -1, 1 << 70, "1", [1], None])),
        lambda: category.update(name=draw.choice(["\x1b[31m", "$x$", "", "a\nb", None, 3])),
        lambda: content.update(annotations=draw.choice([None, {}, "x", [None], [[]]])),
    ]
    for change in draw.sample(changes, draw.randint(1, 2)):
        change()
    (inside / "a.json").write_text(json.dumps(content))
    if draw.random() < 0.2:
        (inside / "a.json").write_text(
            draw.choice(["[" * 100_000, '{"a":' * 100_000, "9" * 10_000, "", "\ufeff{}", '{"images": 1}'])
        )
    elif draw.random() < 0.3:
        (inside / "a.json").write_bytes(mutate(draw, (inside / "a.json").read_bytes()))
    return "read_dataset", {"INSTANCES": "a.json"}


@payload
def panoptic_annotations(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    (inside / "images").mkdir()
    (inside / "pngs").mkdir()
    Image.new("RGB", (8, 8)).save(inside / "images" / "1.png")
    Image.new("RGB", (8, 8), (1, 0, 0)).save(inside / "pngs" / "1.png")
    content = coco(draw)
    segment = {"id": 1, "category_id": 1, "area": 64, "iscrowd": 0, "bbox": [0, 0, 8, 8]}
    annotation = {"image_id": 1, "file_name": "1.png", "segments_info": [segment]}
    content["annotations"] = [annotation]
    changes: list[Callable[[], Any]] = [
        lambda: annotation.update(file_name=traversal(draw, outside, "secret.png")),
        lambda: content["images"][0].update(file_name=traversal(draw, outside, "secret.png")),
        lambda: segment.update(id=draw.choice([0, -1, 1 << 30, "1", None, 1.5])),
        lambda: segment.update(category_id=draw.choice([9, -1, "x", None])),
        lambda: annotation.update(segments_info=draw.choice([None, {}, [None], "x", [segment, segment]])),
        lambda: write_eps(inside / "pngs" / "1.png", outside),
        lambda: (inside / "pngs" / "1.png").write_bytes(mutate(draw, (inside / "pngs" / "1.png").read_bytes())),
    ]
    draw.choice(changes)()
    (inside / "a.json").write_text(json.dumps(content))
    return "read_dataset", {"PANOPTIC": "a.json", "PANOPTIC_PNGS": "pngs"}


@payload
def class_files(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    name = draw.choice(["c.yaml", "c.json"])
    text = "- {name: road, id: 0}\n- {name: car, id: 1, isthing: 1, color: [1, 2, 3]}\n"
    bombs = [
        "&a [x, *a]",
        "!!python/name:os.system ''",
        "!!bool x",
        "[" * 100_000,
        "- {name: a, id: 1:2:3}",
        '- {name: "\\x1b[2J", id: 1, x: 2}',
    ]
    (inside / name).write_bytes(mutate(draw, text.encode()) if draw.random() < 0.6 else draw.choice(bombs).encode())
    return "read_class_file", name


@payload
def archives(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    name = draw.choice(["a.zip", "a.tar", "a.tar.gz"])
    member = draw.choice(
        ["../../outside/evil", str(outside / "evil"), "a/../../../outside/evil", "..\\..\\evil", "link/evil", "C:/evil"]
    )
    if name == "a.zip":
        with zipfile.ZipFile(inside / name, "w") as file:
            link = zipfile.ZipInfo("link")
            link.external_attr = 0o120777 << 16
            file.writestr(link, str(outside))
            file.writestr(member, b"evil")
    else:
        with tarfile.open(inside / name, "w:gz" if name.endswith("gz") else "w") as file:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = (
                draw.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]),
                str(outside),
            )
            if draw.random() < 0.5:
                file.addfile(info)
            info = tarfile.TarInfo(member)
            info.size = 4
            file.addfile(info, io.BytesIO(b"evil"))
    if draw.random() < 0.3:
        (inside / name).write_bytes(mutate(draw, (inside / name).read_bytes()))
    return "unpack_archive", name
