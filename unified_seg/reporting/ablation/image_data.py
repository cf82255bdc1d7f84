"""The data sets of an ablation that the user provides: checked before the first run."""

from collections.abc import Mapping

from detectron2.data import DatasetCatalog

from unified_seg.data.datasets.registration import check_registered
from unified_seg.reporting.errors import ReportingError


def check_images(images: Mapping[str, int]) -> None:
    """Check that data sets are there, with as many images as the plan says.

    Args:
        images: the number of images by the name of a registered data set.

    Raises:
        ConfigError: a name that is not registered.
        DataError: missing files; it says how to get them.
        ReportingError: another number of images.
    """
    for name, expected in images.items():
        check_registered("ablation.yaml: images", name)
        found = len(DatasetCatalog.get(name))
        if found != expected:
            raise ReportingError(f"ablation.yaml: images: {name} has {found} images, expected {expected}")
