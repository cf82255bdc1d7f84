#!/usr/bin/env python3
"""Train and evaluate all rows and seeds of a project's ablation, and write the table into the project's README."""

from unified_seg_cli.commands.ablate import main

if __name__ == "__main__":
    main()
