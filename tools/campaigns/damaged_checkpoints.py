"""Damaged checkpoints of a finished run, and what `--resume` and the reader of weights make of them.

A small run is trained once. In each try its last checkpoint is damaged, and the trainer of the run resumes, in this
process, by what `tools/train_net.py --resume` calls.
"""

import random
import re
import shutil
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch

from campaigns.campaign import Campaign
from toyscapes.writing import generate
from unified_seg import load_config
from unified_seg.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from unified_seg.data.datasets.cityscapes import register_cityscapes_like
from unified_seg.training.trainer import Trainer

CONFIG = Path(__file__).resolve().parents[2] / "configs/toyscapes/unified_demo.yaml"
DATASET = "unified_torture_train"
SIZE = (64, 128)
# The last checkpoint is that of 3 iterations, the older one that of 2.
OVERRIDES = f"""
DATASETS.TRAIN ('{DATASET}',) DATASETS.TEST () DATASETS.CHECK_LABELS False DATALOADER.NUM_WORKERS 0 MODEL.DEVICE cpu
MODEL.MASK_ON False MODEL.PROPOSAL_GENERATOR.NAME '' MODEL.ROI_HEADS.NAME '' MODEL.PANOPTIC_FUSION.NAME ''
MODEL.RESNETS.DEPTH 50 MODEL.RESNETS.WIDTH_PER_GROUP 8 MODEL.RESNETS.STEM_OUT_CHANNELS 16
MODEL.RESNETS.RES2_OUT_CHANNELS 32 MODEL.FPN.OUT_CHANNELS 32 MODEL.SEM_SEG_HEAD.CONVS_DIM 32
MODEL.SEM_SEG_HEAD.ASP_REFINEMENT.BRANCH_DIM 32 INPUT.MIN_SIZE_TRAIN (64,) INPUT.MAX_SIZE_TRAIN 128
SOLVER.IMS_PER_BATCH 2 SOLVER.MAX_ITER 3 SOLVER.CHECKPOINT_PERIOD 2 SEED 1
"""
LAST, OLDER = "model_final.pth", "model_0000001.pth"
# What is in the folder beside the damaged file.
WITH_OLDER, LOST_NAME, ALONE = "older file", "older file, last_checkpoint lost", "no other file"
# Files without a digest of this project's in a comment.
OF_OTHERS, SAFETENSORS = "file of torch.save", "safetensors"
KINDS = (WITH_OLDER, LOST_NAME, ALONE, OF_OTHERS, SAFETENSORS)


class _DamagedCheckpoints(Campaign):
    """Each try: a checkpoint is damaged and read."""

    @abstractmethod
    def damage(self, draw: random.Random, content: bytes) -> bytes:
        """Return damaged content."""

    @contextmanager
    def prepared(self, folder: Path) -> Iterator[None]:
        data, self.run = folder / "data", folder / "run"
        generate(data, counts={"train": 4, "heldout": 0, "val": 0}, size=SIZE, workers=1, progress=False)
        register_cityscapes_like(DATASET, data, "train")
        self.trainer = Trainer(load_config(CONFIG, [*OVERRIDES.split(), "OUTPUT_DIR", str(self.run)]))
        self.trainer.resume_or_load(resume=False)
        self.trainer.train()
        self.whole = {name: (self.run / name).read_bytes() for name in (LAST, OLDER)}
        self.older, last = read_checkpoint(self.run / OLDER), read_checkpoint(self.run / LAST)
        self.others = {OF_OTHERS: folder / "others.pth", SAFETENSORS: folder / "weights.safetensors"}
        torch.save(last, self.others[OF_OTHERS])
        write_checkpoint(self.others[SAFETENSORS], {"model": last["model"], "iteration": last["iteration"]})
        yield

    def attempt(self, seed: int, folder: Path) -> tuple[str, str | None]:
        draw = random.Random(seed)
        kind = KINDS[seed % len(KINDS)]
        source = self.others.get(kind)
        content = source.read_bytes() if source is not None else self.whole[LAST]
        while (damaged := self.damage(draw, content)) == content:
            pass
        try:
            if source is not None:
                failure = self._read(folder / source.name, damaged, read_checkpoint(source))
            else:
                failure = self._resume(kind, damaged, draw)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        shutil.rmtree(folder)
        return kind, failure

    def _read(self, file: Path, damaged: bytes, expected: dict[str, Any]) -> str | None:
        """Read a damaged file of others: some of its bytes have no meaning, so that all may be as it was."""
        file.write_bytes(damaged)
        try:
            found = read_checkpoint(file)
        except CheckpointError as error:
            return _check_message(error)
        return None if _equal(found, expected) else "other content was read"

    def _resume(self, kind: str, damaged: bytes, draw: random.Random) -> str | None:
        """Resume the run, whose last checkpoint is damaged."""
        (self.run / LAST).write_bytes(damaged)
        (self.run / OLDER).write_bytes(self.whole[OLDER])
        if kind == ALONE:
            (self.run / OLDER).unlink()
        (self.run / "last_checkpoint").write_text(LAST)
        if kind == LOST_NAME:
            (self.run / "last_checkpoint").write_text(draw.choice(["", "model_0000007.pth"]))
        try:
            self.trainer.resume_or_load(resume=True)
        except CheckpointError as error:
            return _check_message(error) if kind == ALONE else f"not resumed: {error}"
        if kind == ALONE:
            return "resumed from a damaged file"
        if self.trainer.start_iter != 2:
            return f"resumed after {self.trainer.start_iter} iterations, expected 2"
        same = _equal(dict(self.trainer.evaluated_model.state_dict()), dict(self.older["model"]))
        return None if same else "other weights than those of the older file"


class Flips(_DamagedCheckpoints):
    """Each try: one byte of a checkpoint is changed, half of the times near a header or an end."""

    name: ClassVar[str] = "flips"
    claim: ClassVar[str] = (
        "one changed byte in a checkpoint is found, and `--resume` goes on from the older file, or ends in one line; "
        "in a file of others it is found or changes no value"
    )
    default: ClassVar[int] = 1000

    def damage(self, draw: random.Random, content: bytes) -> bytes:
        places = [0, len(content) - 1, *(match.start() for match in re.finditer(b"PK", content))]
        near = draw.choice(places) + draw.randint(-100, 100)
        place = draw.choice([min(max(near, 0), len(content) - 1), draw.randrange(len(content))])
        changed = content[place] ^ draw.choice([draw.randint(1, 255), 1 << draw.randrange(8)])
        return content[:place] + bytes([changed]) + content[place + 1 :]


class Truncations(_DamagedCheckpoints):
    """Each try: a checkpoint is cut off, or a block of it is zeroed, as after a power failure."""

    name: ClassVar[str] = "truncations"
    claim: ClassVar[str] = (
        "a cut or a block of 512 B to 64 KiB of zeros is found, and `--resume` goes on from the older file, or ends in "
        "one line; in a file of others it is found or changes no value"
    )
    default: ClassVar[int] = 300

    def damage(self, draw: random.Random, content: bytes) -> bytes:
        size = len(content)
        if draw.random() < 0.5:
            return content[: draw.choice([draw.randrange(size), size - draw.randint(1, 200)])]
        length = draw.choice([512, 4096, 65536, draw.randint(512, 65536)])
        start = draw.choice([draw.randrange(size), draw.randrange(size) // 512 * 512, max(0, size - length), 0])
        zeros = bytes(min(length, size - start))
        return content[:start] + zeros + content[start + len(zeros) :]


def _check_message(error: CheckpointError) -> str | None:
    return None if "\n" not in str(error) else f"more than one line: {error}"


def _equal(a: Any, b: Any) -> bool:
    """Return whether nested containers hold the same values."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)
