#!/usr/bin/env python3
"""Rank images by the error that a model predicts for them, to choose which images to label next."""

from unified_seg_cli.commands.rank_by_error import main

if __name__ == "__main__":
    main()
