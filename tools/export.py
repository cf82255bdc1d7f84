#!/usr/bin/env python3
"""Export a trained model as a graph, in a folder that predicts without PyTorch and Detectron2."""

from unified_seg_cli.export import main

if __name__ == "__main__":
    main()
