#!/usr/bin/env python3
"""Print the parameters, multiply-adds and activations of each part of a model, or its structure."""

from unified_seg_cli.commands.analyze_model import main

if __name__ == "__main__":
    main()
