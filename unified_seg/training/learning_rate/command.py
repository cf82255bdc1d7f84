"""The work of `tools/find_lr.py`: test a range of learning rates and draw the losses."""

import argparse
import tempfile

from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng

from unified_seg import load_config
from unified_seg.config import ConfigError, replace_values
from unified_seg.config.stages import num_skipped_stages
from unified_seg.data.resolve import resolve_config, resolve_stages
from unified_seg.hints import format_hint
from unified_seg.inference.images import make_writable
from unified_seg.training.learning_rate.figure import draw_curve
from unified_seg.training.learning_rate.range_test import Curve, run_range_test
from unified_seg.training.trainer import Trainer
from unified_seg_files import write_rows


def run(args: argparse.Namespace) -> None:
    if not 0 < args.lowest < args.highest:
        raise ConfigError(f"--lowest {args.lowest:g} must be above 0 and below --highest {args.highest:g}")
    cfg = resolve_config(load_config(args.config_file, args.opts))
    if stages := resolve_stages(cfg):
        stage = stages[num_skipped_stages(stages)]
        print(f"of the stages of the config this tests the first one that is trained, {stage.name}")
        cfg = stage.config
    make_writable(args.output)
    curve = measure_losses(cfg, args)
    table, figure = args.output / "lr_curve.csv", args.output / "lr_curve.png"
    rows = zip(curve.rates.tolist(), curve.losses.tolist(), curve.smooth().tolist())
    write_rows(table, [("learning_rate", "loss", "smoothed"), *rows])
    suggestion = curve.find_steepest()
    draw_curve(curve, suggestion, figure)
    print(f"{len(curve.rates)} steps; the curve is in {figure}, its numbers are in {table}")
    if suggestion is None:
        print("the loss never falls: start lower, with --lowest, or look for errors in labels and config")
    else:
        print(
            f"the loss falls fastest at {suggestion:.2g}, and is lowest at {curve.find_lowest():.2g}; a rate to begin "
            f"with: {format_hint('SOLVER.BASE_LR', float(f'{suggestion:.2g}'))}"
        )


def measure_losses(cfg: CfgNode, args: argparse.Namespace) -> Curve:
    """Train with rising rates; nothing is written but the result."""
    with tempfile.TemporaryDirectory() as folder:
        values = {"OUTPUT_DIR": folder, "DATASETS.TEST": (), "SOLVER.WRITERS": [], "SOLVER.EARLY_STOPPING.PATIENCE": 0}
        cfg = replace_values(cfg, values)
        if cfg.SEED >= 0:
            seed_all_rng(cfg.SEED)
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=False)
        return run_range_test(trainer._trainer, cfg.SOLVER.BASE_LR, args.lowest, args.highest, args.steps)
