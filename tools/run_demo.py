#!/usr/bin/env python3
"""Train a model, evaluate it and draw its predictions; `make demo` and `make demo-photos` run this."""

from unified_seg_cli.commands.run_demo import main

if __name__ == "__main__":
    main()
