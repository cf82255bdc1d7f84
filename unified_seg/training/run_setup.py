"""The log, the config file and the random numbers of a run."""

import argparse
import logging
import sys
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from unified_seg.config import dump_config


def set_up_run(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Set up loggers, log how the run was started, write config.yaml, and seed.

    It does what Detectron2's `default_setup` does, which parses the whole config for each key that it reads and colors
    the config for a terminal, also in log.txt: here in a tenth of the time.

    Args:
        cfg: a resolved config.
        args: the command line, with `config_file` and `eval_only`.
    """
    rank, folder = comm.get_rank(), Path(cfg.OUTPUT_DIR)
    if comm.is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name="fvcore")
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank)
    own = setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name="unified_seg", abbrev_name="unified_seg")
    for handler in own.handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setLevel(logging.INFO)  # the rest only goes to log.txt

    logger = logging.getLogger("detectron2")
    logger.info(f"Rank of current process: {rank}. World size: {comm.get_world_size()}")
    logger.info(f"Environment info:\n{collect_env_info()}")
    logger.info(f"Command line arguments: {args}")
    if args.config_file:
        text = Path(args.config_file).expanduser().read_text(encoding="utf-8")
        logger.info(f"Contents of args.config_file={args.config_file}:\n{text}")
    if comm.is_main_process():
        text = dump_config(cfg)
        logger.info(f"Running with full config:\n{text}")
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        logger.info(f"Full config saved to {folder / 'config.yaml'}")

    # Each process has another seed, so that their augmentations differ.
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not args.eval_only:
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
