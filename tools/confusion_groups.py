#!/usr/bin/env python3
"""Propose groups of classes that a model confuses, for the subnets of a ConfusionGroupHead."""

from unified_seg_cli.commands.confusion_groups import main

if __name__ == "__main__":
    main()
