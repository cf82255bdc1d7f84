from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGES = (
    "toyscapes",
    "unified_seg",
    "unified_seg_arrays",
    "unified_seg_cli",
    "unified_seg_files",
    "unified_seg_runtime",
)
CONFIGS = ("configs/**/*.yaml", "projects/*/configs/*.yaml", "projects/confusion_groups/*/groups.json")


class BuildWithConfigs(build_py):
    """Copies the configs into the package; unified_seg/config/locate.py finds them there and in a checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for file in sorted(path for pattern in CONFIGS for path in ROOT.glob(pattern)):
            target = Path(self.build_lib, "unified_seg", "shipped", file.relative_to(ROOT))
            self.mkpath(str(target.parent))
            self.copy_file(str(file), str(target))


setup(
    name="unified_seg",
    version="0.1.0",
    description="Unified semantic, instance and panoptic segmentation on Detectron2",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=[name for package in PACKAGES for name in (package, f"{package}.*")]),
    package_data={"unified_seg.html_reports": ["*.j2", "*.css", "*.js", "*/*.j2"]},
    cmdclass={"build_py": BuildWithConfigs},
    entry_points={"console_scripts": ["unified-seg = unified_seg_cli.main:main"]},
    python_requires=">=3.11",
    # Detectron2 itself is not on PyPI: `unified-seg setup` installs it, and what is in the first three extras.
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
        # tools/export.py: graphs in ONNX, and what runs them
        "export": ["onnx", "onnxruntime>=1.17"],
        # HRNet and other backbones of timm
        "timm": ["timm>=1.0"],
        # Cityscapes' instance AP, and its class list, which Toyscapes uses
        "cityscapes": ["cityscapesscripts>=2.2"],
        # datasets/prepare_coco_stuff10k.py reads MATLAB files of version 7.3
        "coco-stuff": ["h5py"],
        # Curves in Weights & Biases and MLflow: SOLVER.WRITERS
        "trackers": ["mlflow-skinny", "wandb"],
        # `make docs`
        "docs": [
            "markdown-it-py",
            "mermaid-render>=0.14",
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.8,<10",
            "mkdocstrings[python]>=1",
        ],
        "dev": [
            "fastapi",
            "h5py",
            "hypothesis",
            "import-linter>=2.17",
            "mypy",
            "onnx",
            "onnxruntime>=1.17",
            "pytest",
            "pytest-xdist",
            "ruff",
            "types-PyYAML",
            "types-tabulate",
            "types-tqdm",
            "uvicorn",
        ],
    },
)
