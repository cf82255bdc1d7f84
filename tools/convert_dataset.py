#!/usr/bin/env python3
"""Convert annotations to the formats that DATASETS.CUSTOM reads."""

from unified_seg_cli.commands.convert_dataset import main

if __name__ == "__main__":
    main()
