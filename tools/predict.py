#!/usr/bin/env python3
"""Predict images into files, with the weights alone."""

from unified_seg_cli.commands.predict import main

if __name__ == "__main__":
    main()
