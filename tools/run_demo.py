#!/usr/bin/env python3
"""Generate Toyscapes, train a panoptic model on it, evaluate it and draw its predictions; `make demo` runs this."""

from unified_seg_cli.commands.run_demo import main

if __name__ == "__main__":
    main()
