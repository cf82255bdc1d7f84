"""The folder of a run, its log, its config file and its random numbers."""

import argparse
import fnmatch
import logging
import os
import stat
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng

from unified_seg.config import ConfigError, dump_config, locate_config
from unified_seg.training.console.log import set_up_logging
from unified_seg.training.lifecycle.identity import provide_run_id, read_run_id, read_threads
from unified_seg_cli.cores import count_free_cores
from unified_seg_files import remove_leftovers, write_text

# What Detectron2, TensorBoard and logs of processes open in place, so that a link with such a name would be followed.
WRITTEN_IN_PLACE = (
    "log.txt*",
    "metrics.json",
    "config.yaml",
    "events.out.tfevents.*",
    "unreadable.txt",
    "ablation_log.txt",
    "train_net.txt",
)


def prepare_output_folder(folder: str | Path) -> None:
    """Create the folder of a run and check that it can be written to; remove what killed runs left half written.

    Raises:
        ConfigError: it can't be created or written to; or a file that is opened in place is a link, or no regular file.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = os.listdir(folder)
    except OSError as error:
        raise ConfigError(f"OUTPUT_DIR {folder}: {error.strerror}; choose another folder") from None
    if not os.access(folder, os.W_OK | os.X_OK) or _is_read_only(folder):
        raise ConfigError(f"OUTPUT_DIR {folder}: it can't be written to; choose another folder")
    for name in names:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in WRITTEN_IN_PLACE):
            mode = (folder / name).lstat().st_mode
            if not stat.S_ISREG(mode):
                kind = "a link" if stat.S_ISLNK(mode) else "no regular file"
                raise ConfigError(f"OUTPUT_DIR {folder}: {name} is {kind}, to which nothing is written; remove it")
    remove_leftovers(folder)


def _is_read_only(folder: Path) -> bool:
    """Return whether a file system takes no files, of which the permissions of a folder say nothing."""
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def set_up_run(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Set up loggers, log how the run was started, write config.yaml and the id of the run, and seed.

    It does what Detectron2's `default_setup` does, which parses the whole config for each key that it reads and colors
    the config for a terminal, also in log.txt: here in a tenth of the time.

    Args:
        cfg: a resolved config; `prepare_output_folder` made its folder.
        args: the command line, with `config_file` and `eval_only`.
    """
    rank = comm.get_rank()
    set_up_logging(cfg.OUTPUT_DIR, rank)
    limit_threads(cfg, None if args.eval_only else read_threads(cfg.OUTPUT_DIR))

    logger = logging.getLogger("detectron2")
    logger.info(f"Rank of current process: {rank}. World size: {comm.get_world_size()}")
    logger.info(f"Environment info:\n{collect_env_info()}")
    logger.info(f"Command line arguments: {args}")
    if args.config_file:
        text = locate_config(args.config_file).read_text(encoding="utf-8")
        logger.info(f"Contents of args.config_file={args.config_file}:\n{text}")
    if comm.is_main_process():
        text = dump_config(cfg)
        logger.info(f"Running with full config:\n{text}")
        file = Path(cfg.OUTPUT_DIR) / "config.yaml"
        write_config(file, text, read_run_id(cfg.OUTPUT_DIR) if args.eval_only else provide_run_id(cfg.OUTPUT_DIR))
        logger.info(f"Full config saved to {file}")

    # Each process has another seed, so that their augmentations differ.
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not args.eval_only:
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK


def limit_threads(cfg: CfgNode, threads: int | None = None) -> None:
    """Let PyTorch use as many threads on a CPU as there are free cores: on a busy one they wait for each other.

    OMP_NUM_THREADS of the user, or fewer threads that a program has set, stay.

    Args:
        cfg: with the device.
        threads: those of an earlier start of the run, since sums depend on them; None: as many as cores are free.
    """
    before = torch.get_num_threads()
    if cfg.MODEL.DEVICE != "cpu" or "OMP_NUM_THREADS" in os.environ or before == 1:
        return
    threads = min(before, threads or count_free_cores())
    if threads < before:
        torch.set_num_threads(threads)
        logger = logging.getLogger(__name__)
        logger.info(f"{threads} threads, since others use the other cores; OMP_NUM_THREADS sets another number")


def write_config(file: Path, text: str, run_id: str) -> None:
    """Write a config, with the id of its run, if it has one, as a comment."""
    write_text(file, f"# run {run_id}\n{text}" if run_id else text)
