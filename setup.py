from pathlib import Path

from setuptools import find_packages, setup

PACKAGES = ("toyscapes", "unified_seg", "unified_seg_cli", "unified_seg_files")

setup(
    name="unified_seg",
    version="0.1.0",
    description="Unified semantic, instance and panoptic segmentation on Detectron2",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=[name for package in PACKAGES for name in (package, f"{package}.*")]),
    package_data={"unified_seg.html_reports": ["*.j2", "*.css", "*.js", "*/*.j2"]},
    python_requires=">=3.11",
    # Detectron2 itself is not on PyPI: tools/install_detectron2.py (run by `make setup`) installs it.
    # The metadata of panopticapi excludes current numpy, with which it works: `make setup` ignores its dependencies.
    install_requires=[
        "torch>=2.5",
        "torchvision",
        "numba>=0.60",
        "numpy",
        "scipy>=1.15",
        "pillow",
        "fvcore",
        "hotcoco>=1.3",
        "pyyaml",
        "jinja2",
        "msgspec>=0.18",
        "pycocotools>=2.0.7",
        "safetensors>=0.4.3",
        "tabulate",
        "tqdm",
    ],
    extras_require={
        # Any package with cv2 works: opencv-python, conda's opencv, or this
        "opencv": ["opencv-python-headless"],
        # HRNet and other backbones of timm
        "timm": ["timm>=1.0"],
        # Cityscapes' instance AP, and its class list, which Toyscapes uses
        "cityscapes": ["cityscapesscripts>=2.2"],
        # datasets/prepare_coco_stuff10k.py reads MATLAB files of version 7.3
        "coco-stuff": ["h5py"],
        # `make docs`
        "docs": [
            "markdown-it-py",
            "mermaid-render>=0.14",
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.8,<10",
            "mkdocstrings[python]>=1",
        ],
        "dev": [
            "h5py",
            "hypothesis",
            "import-linter>=2.17",
            "mypy",
            "pytest",
            "pytest-xdist",
            "ruff",
            "types-PyYAML",
            "types-tabulate",
            "types-tqdm",
        ],
    },
)
