#!/usr/bin/env python3
"""Check data sets: read all files once and report every problem with a way to fix it."""

from unified_seg_cli.commands.check_dataset import main

if __name__ == "__main__":
    main()
