"""Install what pip alone can't: Detectron2, and OpenCV unless a package with it is there; then compile.

    unified-seg setup              # keep an installed Detectron2, or install 0.6 without a compiler
    unified-seg setup --from-git   # build Detectron2's official main (needs a compiler and GitHub)

It installs into the environment of this command and changes no package that is there. A second run takes seconds.
"""

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from unified_seg_cli import ToolParser
from unified_seg_cli.install_detectron2 import InstallError, install_detectron2, pip

#: Modules that commands import, and the packages that have them, beside the requirements of this package.
#: setuptools reads Detectron2's archive. There are several packages of OpenCV, which overwrite each other.
PACKAGES = {
    "setuptools": "setuptools",
    "cv2": "opencv-python-headless",
    "cityscapesscripts": "cityscapesscripts>=2.2",
    "timm": "timm>=1.0",
}


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_argument("--from-git", action="store_true", help="build the official main of Detectron2")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    try:
        missing = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
        if missing:
            print(f"installing {', '.join(missing)}", flush=True)
            pip("install", "--quiet", *missing)
        install_detectron2(from_git=args.from_git)
    except InstallError as error:
        sys.exit(f"unified-seg setup: {error}")
    print("compiling", flush=True)
    # A new process finds packages that were installed a moment ago.
    compiled = subprocess.run([sys.executable, "-W", "ignore", "-m", "unified_seg.inference.warm_up"])
    if compiled.returncode:
        sys.exit("unified-seg setup: the packages do not work together, see above")
    print("ready: unified-seg --help lists the commands")
