#!/usr/bin/env python3
"""Generate Toyscapes: procedural street scenes in the layout of Cityscapes."""

from unified_seg_cli.make_toyscapes import main

if __name__ == "__main__":
    main()
