#!/usr/bin/env python3
"""`tools/train_net.py` with this project's head registered."""

import head  # noqa: F401  (registers LinearHead)

from unified_seg.training.run import run

if __name__ == "__main__":
    run()
