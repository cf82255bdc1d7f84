"""Train a config and write the total loss of each step as JSON; started by test_distributed.py under torchrun."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from detectron2.engine import HookBase
from detectron2.utils import comm

from unified_seg.training.launch import launch
from unified_seg.training.run import setup
from unified_seg.training.trainer import Trainer
from unified_seg_cli.train_net import parse_args


class Recorder(HookBase):
    def __init__(self):
        self.losses = []

    def after_step(self):
        self.losses.append(self.trainer.storage.latest()["total_loss"][0])


def main(args):
    with ExitStack() as stack:
        train(setup(args, stack)[0])


def train(cfg):
    trainer = Trainer(cfg)
    recorder = Recorder()
    trainer.register_hooks([recorder] if comm.is_main_process() else [])
    trainer.train()
    if comm.is_main_process():
        content = {"losses": recorder.losses, "world_size": comm.get_world_size()}
        (Path(cfg.OUTPUT_DIR) / "losses.json").write_text(json.dumps(content))


if __name__ == "__main__":
    launch(main, parse_args(sys.argv[1:]))
