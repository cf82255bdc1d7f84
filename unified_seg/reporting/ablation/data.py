"""The Toyscapes data that an ablation runs on: there and the right ones, or made."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toyscapes import VERSION, generate
from unified_seg.data.datasets import get_datasets_root


@dataclass(frozen=True)
class ToyscapesSpec:
    """Which Toyscapes.

    Attributes:
        preset: "demo" or "standard".
        size: "<height>x<width>".
        train, heldout, val: images in each split.
        seed: of the generator.
        version: of the generator; tables of different versions are not comparable.
    """

    preset: str
    size: str
    train: int
    heldout: int
    val: int
    seed: int
    version: str

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "ToyscapesSpec":
        """From the `toyscapes` section of an ablation.yaml. Raises ValueError for other keys, types or sizes."""
        types = cls.__annotations__
        if set(content) != set(types):
            keys = ", ".join(map(str, content))
            raise ValueError(f"toyscapes must have exactly the keys {', '.join(types)}, got {keys}")
        for key, value in content.items():
            if type(value) is not types[key]:
                kind = "a string" if types[key] is str else "a whole number"
                raise ValueError(f"toyscapes: {key} must be {kind}, got {value!r}")
        if not re.fullmatch(r"\d+x\d+", content["size"]):
            raise ValueError(f"toyscapes: size must be <height>x<width>, got {content['size']!r}")
        return cls(**content)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def folder(self) -> Path:
        """Where the data sets unified_toyscapes_* of this preset and size look for their files."""
        if self.preset == "demo":
            name = "toyscapes_demo"
        else:
            name = "toyscapes" if self.size == "128x256" else f"toyscapes_{self.size}"
        return get_datasets_root() / name


def prepare_toyscapes(spec: ToyscapesSpec, root: Path) -> None:
    """Make the data, or see that they are there already, whole and the right ones.

    Args:
        spec: which data.
        root: the folder in which the runs start.

    Raises:
        ValueError: the generator has another version, refuses the arguments, or the folder holds other data.
    """
    if spec.version != VERSION:
        raise ValueError(f"the ablation is made on Toyscapes version {spec.version}, this is version {VERSION}")
    height, width = map(int, spec.size.split("x"))
    counts = {"train": spec.train, "heldout": spec.heldout, "val": spec.val}
    try:
        generate(root / spec.folder(), preset=spec.preset, counts=counts, size=(height, width), seed=spec.seed)
    except (ValueError, FileExistsError) as error:
        raise ValueError(f"the data of the ablation: {error}") from None
