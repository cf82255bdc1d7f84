"""Damaged checkpoints of a finished run, and what `--resume` and the reader of weights make of them.

A small run is trained once. In each try its last checkpoint is damaged, and the trainer of the run resumes, in this
process, by what `tools/train_net.py --resume` calls.
"""

import logging
import random
import re
import shutil
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import BACKBONE_REGISTRY

from campaigns.campaign import Campaign
from campaigns.runs.comparison import find_difference
from campaigns.runs.tiny_run import CampaignBackbone, write_dataset
from unified_seg import load_config
from unified_seg.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from unified_seg.training.trainer import Trainer

# The last checkpoint is that of 3 iterations, the older one that of 2. Layers are wider than in the other campaigns, so
# that a zeroed block is a smaller part of the file.
OVERRIDES = ["SOLVER.MAX_ITER", "3", "SOLVER.CHECKPOINT_PERIOD", "2", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "64"]
LAST, OLDER = "model_final.pth", "model_0000001.pth"
# What is in the folder beside the damaged file.
WITH_OLDER, LOST_NAME, ALONE = "older file", "older file, last_checkpoint lost", "no other file"
# Files that are only read.
OF_OTHERS, SAFETENSORS = "file of torch.save", "safetensors"
KINDS = (WITH_OLDER, LOST_NAME, ALONE, OF_OTHERS, SAFETENSORS)


class _DamagedCheckpoints(Campaign):
    """Each try: a checkpoint is damaged and read."""

    @abstractmethod
    def damage(self, draw: random.Random, content: bytes) -> bytes:
        """Return damaged content."""

    @contextmanager
    def prepared(self, folder: Path) -> Iterator[None]:
        write_dataset(folder)
        if CampaignBackbone.__name__ not in BACKBONE_REGISTRY:
            BACKBONE_REGISTRY.register(CampaignBackbone)
        self.run = folder / "run"
        before = set(DatasetCatalog.list())
        self.trainer = Trainer(load_config(folder / "config.yaml", [*OVERRIDES, "OUTPUT_DIR", str(self.run)]))
        self.trainer.resume_or_load(resume=False)
        self.trainer.train()
        self.whole = {name: (self.run / name).read_bytes() for name in (LAST, OLDER)}
        self.older, last = read_checkpoint(self.run / OLDER), read_checkpoint(self.run / LAST)
        self.others = {OF_OTHERS: folder / "others.pth", SAFETENSORS: folder / "weights.safetensors"}
        torch.save(last, self.others[OF_OTHERS])
        write_checkpoint(self.others[SAFETENSORS], {"model": last["model"], "iteration": last["iteration"]})
        log = logging.getLogger("unified_seg")
        level = log.level
        log.setLevel(logging.ERROR)  # each try would log which file was not taken
        try:
            yield
        finally:
            log.setLevel(level)
            for name in set(DatasetCatalog.list()) - before:
                DatasetCatalog.remove(name)
                MetadataCatalog.remove(name)

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
        difference = find_difference(found, expected)
        return None if difference is None else f"{difference} was read with another value"

    def _resume(self, kind: str, damaged: bytes, draw: random.Random) -> str | None:
        """Resume the run, whose last checkpoint is damaged."""
        (self.run / LAST).write_bytes(damaged)
        (self.run / OLDER).write_bytes(self.whole[OLDER])
        if kind == ALONE:
            (self.run / OLDER).unlink()
        (self.run / "last_checkpoint").write_text(LAST)
        if kind == LOST_NAME:
            (self.run / "last_checkpoint").write_text(draw.choice(["", "model_0000007.pth"]))
        model = self.trainer.evaluated_model
        with torch.no_grad():  # of the try before
            for value in model.parameters():
                value.zero_()
        self.trainer.start_iter = 0
        try:
            self.trainer.resume_or_load(resume=True)
        except CheckpointError as error:
            return _check_message(error) if kind == ALONE else f"not resumed: {error}"
        if kind == ALONE:
            return "resumed from a damaged file"
        if self.trainer.start_iter != 2:
            return f"resumed after {self.trainer.start_iter} iterations, expected 2"
        difference = find_difference(dict(model.state_dict()), dict(self.older["model"]))
        return None if difference is None else f"{difference} is not that of the older file"


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
