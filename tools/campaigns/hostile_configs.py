"""Hostile and damaged configs, overrides, ablations, URLs and folders of runs."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaigns.hostile import command, mutate, payload, traversal

CONFIG = """MODEL:
  WEIGHTS: m.pth
  DEVICE: cpu
DATASETS:
  TRAIN: [unified_toyscapes_demo_train]
SOLVER:
  STEPS: [10, 20]
"""


@payload
def config_tags(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    proof = outside / "executed"
    tag = draw.choice(
        [
            f"!!python/object/apply:os.system ['touch {proof}']",
            f"!!python/object/new:os.system ['touch {proof}']",
            "!!python/name:os.system ''",
            "!!python/module:os ''",
            f"!!python/object/apply:builtins.open ['{proof}', w]",
            "!!python/tuple [1, 2]",
            f"!!python/object/apply:subprocess.Popen [[touch, {proof}]]",
            f"!<tag:yaml.org,2002:python/object/apply:eval> [\"open('{proof}', 'w')\"]",
            *("!!timestamp x", "!!bool x", "!!int x", "!!float x", "!!binary x", "!!set [1]", "!!omap x", "2001-99-99"),
        ]
    )
    key = draw.choice(["MODEL", "OUTPUT_DIR", "_BASE_", "SEED", "STAGES", "? "])
    (inside / "config.yaml").write_text(f"{key}: {tag}\n")
    return "read_config", []


@payload
def config_bases(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    (inside / "pyproject.toml").touch()
    base = draw.choice(
        [
            traversal(draw, outside, "secret.yaml"),
            "http://127.0.0.1:9/x.yaml",
            "config.yaml",
            "link.yaml",
            "fifo",
            "/dev/zero",
        ]
    )
    (inside / "link.yaml").symlink_to(outside / "secret.yaml")
    os.mkfifo(inside / "fifo")
    (inside / "config.yaml").write_text(f"_BASE_: {json.dumps([base] * draw.randint(1, 3))}\n")
    return "read_config", []


@payload
def config_bombs(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    width, levels = draw.randint(2, 20), draw.randint(5, 30)
    lines = ["A0: &a0 [x]", *(f"A{n}: &a{n} [{f'*a{n - 1}, ' * width}]" for n in range(1, levels))]
    maps = [
        "A0: &a0 {k: x}",
        *(f"A{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(width))}}}" for n in range(1, levels)),
    ]
    depth = draw.randint(100, 100_000)
    text = draw.choice(
        [
            "\n".join(lines),
            "\n".join(maps),
            "MODEL: &a {A: *a}",
            "MODEL: &a [*a, *a]",
            "A: " + "[" * depth,
            "A: " + "[" * depth + "]" * depth,
            "- " * depth,
            "{A: " * depth,
            "SEED: " + ":".join(["1"] * depth),
            "SEED: " + "1" * depth,
            "A: " + "x" * 5_000_000,
            "\n".join(f"K{n}: 1" for n in range(depth)),
        ]
    )
    (inside / "config.yaml").write_text(text)
    if draw.random() < 0.3:
        (inside / "config.json").write_text('{"MODEL":' * depth + "1" + "}" * depth)
    return "read_config", []


@payload
def config_damaged(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    (inside / "config.yaml").write_bytes(mutate(draw, CONFIG.encode()))
    return "read_config", []


REFUSED = {
    "MODEL.LOAD_PROPOSALS": "True",
    "DATASETS.PROPOSAL_FILES_TRAIN": "('boxes.pkl',)",
    "DATASETS.PROPOSAL_FILES_TEST": "('boxes.pkl',)",
    "MODEL.WEIGHTS": "file:///etc/passwd",
    "OUTPUT_DIR": "http://127.0.0.1:9/",
    "MODEL.TIMM.NAME": "hf-hub:a/b",
    "MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX": "ftp://127.0.0.1:9/m.npz",
}


@payload
def config_overrides(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    if draw.random() < 0.4:
        key = draw.choice(list(REFUSED))
        return "read_config", [draw.choice(["", "STAGES.a."]) + key, REFUSED[key]]
    keys = [
        "OUTPUT_DIR",
        "MODEL.WEIGHTS",
        "SEED",
        "DATASETS.TRAIN",
        "DATASETS.CUSTOM",
        "SOLVER.STEPS",
        "INPUT.FORMAT",
        "a.b",
        "_BASE_",
        "STAGES.x",
    ]
    return "read_config", [draw.choice(keys), command(draw, outside)]


@payload
def config_of_detectron2(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    key = draw.choice(list(REFUSED))
    value = {"True": True, "('boxes.pkl',)": ("boxes.pkl",)}.get(REFUSED[key], REFUSED[key])
    return "read_config_of_detectron2", [key, value]


@payload
def ablations(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    (inside / "c.yaml").write_text("SEED: 1")
    row: dict[str, Any] = {"name": "a", "config": "c.yaml"}
    plan: dict[str, Any] = {"datasets": {"val": "v"}, "rows": [row]}
    changes: list[Callable[[], Any]] = [
        lambda: row.update(config=traversal(draw, outside, "secret.yaml")),
        lambda: row.update(overrides={"OUTPUT_DIR": str(outside)}),
        lambda: plan.update(budget={"OUTPUT_DIR": str(outside)}),
        lambda: row.update(name=draw.choice(["../..", "\0", "", 3, None, "\x1b[2J"])),
        lambda: plan.update(toyscapes={"preset": "demo", "size": "9" * 5000 + "x1", "train": 1 << 60}),
        lambda: plan.update(seeds=draw.choice([["x"], -1, [1 << 80], []])),
    ]
    draw.choice(changes)()
    text = json.dumps(plan)
    if draw.random() < 0.3:
        text = draw.choice(
            [
                "a: &a [*a]",
                "!!python/object/apply:os.system [id]",
                "[" * 10_000,
                mutate(draw, text.encode()).decode("latin1"),
            ]
        )
    (inside / "ablation.yaml").write_text(text)
    return "read_ablation", None


@payload
def urls(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    scheme = draw.choice(["http", "https", "ftp", "file", "data", "gopher", "s3", "manifold", "catalog", "HTTP", "jar"])
    path = draw.choice(
        [
            "../../../evil.pth",
            "%2e%2e/%2e%2e/evil.pth",
            "a/..\\..\\evil",
            "\0.pth",
            "x" * 5000,
            "a.pth/../b.p/th",
            "m.pth;touch x",
        ]
    )
    return "fetch_url", f"{scheme}://{draw.choice(['h', '', 'user@h', '[::1', 'h:99999'])}/{path}"


@payload
def output_folders(draw: random.Random, inside: Path, outside: Path) -> tuple[str, Any]:
    folder, name = (
        inside / "output",
        draw.choice(
            ["log.txt", "metrics.json", "config.yaml", "events.out.tfevents.1", "log.txt.rank1", "unreadable.txt"]
        ),
    )
    if draw.random() < 0.1:
        folder.touch()
        return "write_into", None
    folder.mkdir()
    if draw.random() < 0.7:
        (folder / name).symlink_to(outside / draw.choice(["secret.yaml", "new"]))
    else:
        os.mkfifo(folder / name)
    return "write_into", None
