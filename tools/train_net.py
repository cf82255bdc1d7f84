#!/usr/bin/env python3
"""Train and evaluate a config, with the command line that Detectron2 users know.

    python tools/train_net.py --config-file configs/toyscapes/panoptic_fpn_R_18.yaml
    python tools/train_net.py --config-file ... --eval-only MODEL.WEIGHTS output/model_final.pth
    python tools/train_net.py --config-file ... --resume
    torchrun --nproc-per-node 2 tools/train_net.py --config-file ...

Results go to OUTPUT_DIR: model_final.pth, metrics.json, TensorBoard events, inference/results.json.
"""

import argparse
import sys
from collections import OrderedDict
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, default_setup
from detectron2.evaluation import verify_results
from detectron2.modeling import build_model
from detectron2.utils import comm

from unified_seg import load_config
from unified_seg.config import ConfigError
from unified_seg.data.class_counts import with_class_counts
from unified_seg.data.reading import DataError
from unified_seg.training.checkpoint import Checkpointer, CheckpointError
from unified_seg.training.launch import launch
from unified_seg.training.trainer import Trainer


def setup(args: argparse.Namespace) -> CfgNode:
    # What evaluation reads best; a KEY VALUE pair of the command line still has the last word.
    cfg = load_config(args.config_file, ["MODEL.UNIFIED.OUTPUT", "compact", *args.opts])
    cfg = with_class_counts(cfg)
    default_setup(cfg, args)
    return cfg


def evaluate(cfg: CfgNode) -> OrderedDict[str, Any]:
    if not cfg.MODEL.WEIGHTS:
        raise CheckpointError("MODEL.WEIGHTS is empty: there is nothing to evaluate")
    model = build_model(cfg)
    Checkpointer(model, complete=True).load(cfg.MODEL.WEIGHTS)
    results = Trainer.test(cfg, model)
    if comm.is_main_process():
        verify_results(cfg, results)
    return results


def main(args: argparse.Namespace) -> Any:
    try:
        cfg = setup(args)
        if args.eval_only:
            return evaluate(cfg)
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        return trainer.train()
    except (ConfigError, DataError, CheckpointError) as error:
        # What a user can mend, without a traceback.
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    launch(main, default_argument_parser().parse_args())
