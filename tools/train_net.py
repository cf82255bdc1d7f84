#!/usr/bin/env python3
"""Train and evaluate a config, with the command line that Detectron2 users know."""

from unified_seg_cli.train_net import main

if __name__ == "__main__":
    main()
