"""How the library reads what a payload wrote; called in a watched process."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from detectron2.config import get_cfg

import unified_seg  # noqa: F401  (registration)
from unified_seg.checkpoint import find_newest_checkpoint, read_checkpoint
from unified_seg.checkpoint.downloads import fetch, name_in_cache
from unified_seg.config import add_unified_seg_config, load_config
from unified_seg.data.coco.categories import read_classes
from unified_seg.data.datasets.custom import CustomDataset
from unified_seg.data.io.image_files import read_image, read_image_size
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.io.label_files import read_label, read_panoptic_ids
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.resolve import resolve_config
from unified_seg.errors import UserError
from unified_seg.heads.confusion_groups.matrix import read_confusion
from unified_seg.reporting.ablation.plan import read_plan
from unified_seg.training.run_setup import prepare_output_folder
from unified_seg_files import get_cache_folder


def read_config(folder: Path, words: list[str]) -> None:
    """Read and resolve config.yaml or config.json with overrides."""
    file = next((path for path in (folder / "config.json", folder / "config.yaml") if path.exists()), "")
    resolve_config(load_config(file, words))


def read_config_of_detectron2(folder: Path, values: list[Any]) -> None:
    """Resolve a config that Detectron2's own functions made."""
    cfg = get_cfg()
    add_unified_seg_config(cfg)
    cfg.merge_from_list(values)
    resolve_config(cfg)


def read_weights(folder: Path, name: str) -> None:
    read_checkpoint(folder / name)


def read_resumed(folder: Path, _: Any) -> None:
    find_newest_checkpoint(folder)


def read_picture(folder: Path, name: str) -> None:
    """Read a file in each way in which images and labels are read; the first error of each must be for the user."""
    readers = (read_image, read_image_size, ImageReader().read, read_label, read_panoptic_ids)
    for read in readers:
        with suppress(UserError):
            read(folder / name)


def read_dataset(folder: Path, entry: dict[str, Any]) -> None:
    """Load a custom data set, and read the images and labels that its records name."""
    dataset = CustomDataset.from_entry({"NAME": "hostile", "IMAGES": "images", **entry}, folder)
    for record in dataset.load():
        read_image(record["file_name"])
        if record.get("pan_seg_file_name"):
            read_panoptic_ids(record["pan_seg_file_name"])


def read_class_file(folder: Path, name: str) -> None:
    read_classes(folder / name)


def read_matrix(folder: Path, name: str) -> None:
    try:
        read_confusion(folder / name)
    except ValueError as error:  # the head adds the config key
        raise UserError(str(error)) from None


def read_ablation(folder: Path, _: Any) -> None:
    read_plan(folder / "ablation.yaml", folder)


def unpack_archive(folder: Path, name: str) -> None:
    unpack(folder / name, folder / "root")


def fetch_url(folder: Path, url: str) -> None:
    """Fetch a URL of a scheme that is refused, and check where others would be kept."""
    inside = get_cache_folder() / "weights"
    if name_in_cache(url).parent != inside or ".." in name_in_cache(url).name:
        raise AssertionError(f"{url} would be kept as {name_in_cache(url)}")
    if not url.lower().startswith("http"):
        fetch(url)


def write_into(folder: Path, _: Any) -> None:
    prepare_output_folder(folder / "output")
