#!/usr/bin/env python3
"""Draw a training set: the labels on disk, or the augmented images and labels that training gets."""

from unified_seg_cli.commands.visualize_data import main

if __name__ == "__main__":
    main()
