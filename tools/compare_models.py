#!/usr/bin/env python3
"""Draw the images on which the semantic maps of two trained models differ most."""

from unified_seg_cli.commands.compare_models import main

if __name__ == "__main__":
    main()
