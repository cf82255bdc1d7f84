#!/usr/bin/env python3
"""Install Detectron2 without a compiler and without GitHub, or keep an installed one.

It runs with nothing but Python and pip: this project need not be installed.
"""

import runpy
from pathlib import Path

if __name__ == "__main__":
    script = Path(__file__).resolve().parent.parent / "unified_seg_cli" / "install_detectron2.py"
    runpy.run_path(str(script), run_name="__main__")
