"""What scores and times depend on: versions of packages, and the machine."""

import importlib.metadata
import platform
from pathlib import Path

import detectron2
import numpy as np
import torch

from unified_seg_cli.cores import count_allowed_cores


def get_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the numbers depend on, by name."""
    try:
        own = importlib.metadata.version("unified_seg")
    except importlib.metadata.PackageNotFoundError:
        own = "not installed"
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "detectron2": detectron2.__version__,
        "numpy": np.__version__,
        "unified_seg": own,
    }


def name_machine() -> str:
    """Return the processor, the number of usable cores and the GPU, if there is one."""
    line = f"{_name_processor()}, {count_allowed_cores()} cores"
    return f"{line}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else line


def _name_processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
