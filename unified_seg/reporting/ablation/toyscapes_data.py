"""The Toyscapes data set of an ablation, generated if it is not there."""

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from toyscapes import VERSION, generate
from unified_seg.data.datasets import get_datasets_root
from unified_seg.reporting.errors import ReportingError

Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class ToyscapesSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """The section `toyscapes` of an ablation.yaml: arguments of the generator.

    Attributes:
        preset: "demo" or "standard".
        size: "<height>x<width>".
        train, heldout, val: images in each split.
        seed: of the generator.
        version: of the generator; tables of different versions are not comparable.
    """

    preset: Annotated[str, Meta(pattern="^(demo|standard)$")]
    size: Annotated[str, Meta(pattern=r"^\d{1,5}x\d{1,5}$")]
    train: Count
    heldout: Count
    val: Count
    seed: int
    version: str

    def as_dict(self) -> dict[str, Any]:
        return structs.asdict(self)

    def locate(self) -> Path:
        """Return the folder that the data sets unified_toyscapes_* of this preset and size are read from."""
        if self.preset == "demo":
            name = "toyscapes_demo"
        else:
            name = "toyscapes" if self.size == "128x256" else f"toyscapes_{self.size}"
        return get_datasets_root() / name


def prepare_toyscapes(spec: ToyscapesSpec, root: Path) -> None:
    """Generate the data, or check that the folder holds all of them with the same arguments.

    Args:
        spec: arguments of the generator.
        root: the folder in which the runs start.

    Raises:
        ReportingError: the generator has another version, refuses the arguments, or the folder holds other data.
    """
    if spec.version != VERSION:
        raise ReportingError(f"ablation.yaml: toyscapes.version is {spec.version!r}, the generator's is {VERSION!r}")
    height, width = map(int, spec.size.split("x"))
    counts = {"train": spec.train, "heldout": spec.heldout, "val": spec.val}
    try:
        generate(root / spec.locate(), preset=spec.preset, counts=counts, size=(height, width), seed=spec.seed)
    except (ValueError, FileExistsError) as error:
        raise ReportingError(f"ablation.yaml: toyscapes: {error}") from None
