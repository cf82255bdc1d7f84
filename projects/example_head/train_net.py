#!/usr/bin/env python3
"""`tools/train_net.py` with this project's heads registered."""

import linear_head  # noqa: F401  (registers LinearHead)
import temperature_head  # noqa: F401  (registers TemperatureHead)

from unified_seg.training.run import run

if __name__ == "__main__":
    run()
