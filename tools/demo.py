#!/usr/bin/env python3
"""Draw the predictions of a trained model on images or a video, with the command line of Detectron2's demo."""

from unified_seg_cli.commands.demo import main

if __name__ == "__main__":
    main()
