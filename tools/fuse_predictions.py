#!/usr/bin/env python3
"""Fuse the instance and semantic predictions of any models into panoptic predictions."""

from unified_seg_cli.commands.fuse_predictions import main

if __name__ == "__main__":
    main()
