#!/usr/bin/env python3
"""Find a learning rate: train a few steps with rising rates and draw the losses."""

from unified_seg_cli.find_lr import main

if __name__ == "__main__":
    main()
