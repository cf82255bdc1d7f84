"""Train a config and write the total loss of each step as JSON; started by test_distributed.py under torchrun."""

import json
import sys
from pathlib import Path

from detectron2.engine import HookBase, default_argument_parser
from detectron2.utils import comm

from unified_seg.training.launch import launch
from unified_seg.training.run import setup
from unified_seg.training.trainer import Trainer


class Recorder(HookBase):
    def __init__(self):
        self.losses = []

    def after_step(self):
        self.losses.append(self.trainer.storage.latest()["total_loss"][0])


def main(args):
    cfg, _ = setup(args)
    trainer = Trainer(cfg)
    recorder = Recorder()
    trainer.register_hooks([recorder] if comm.is_main_process() else [])
    trainer.train()
    if comm.is_main_process():
        content = {"losses": recorder.losses, "world_size": comm.get_world_size()}
        (Path(cfg.OUTPUT_DIR) / "losses.json").write_text(json.dumps(content))


if __name__ == "__main__":
    launch(main, default_argument_parser().parse_args(sys.argv[1:]))
