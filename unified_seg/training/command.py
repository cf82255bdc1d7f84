"""The work of `unified-seg train`: train and evaluate a config."""

import argparse
from typing import Any

from unified_seg.training.launch import launch
from unified_seg.training.run import main


def run(args: argparse.Namespace) -> Any:
    return launch(main, args)
