"""Your own data sets, by config: DATASETS.CUSTOM names folders and files, and no line of code is needed.

docs/data.md has examples. An entry's keys are those of `KEYS`; relative paths start at DETECTRON2_DATASETS.
"""

import re
import reprlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg.config import ConfigError
from unified_seg.data.coco.categories import class_table, listed_categories, read_categories
from unified_seg.data.coco.instance_format import load_coco_instances
from unified_seg.data.coco.panoptic_format import load_coco_panoptic
from unified_seg.data.datasets.semantic_folder import load_semantic_folder
from unified_seg.data.io.semantic_labels import pixel_values
from unified_seg.data.io.text_files import read_yaml
from unified_seg.data.problems import DataError, Problem, Report, stop
from unified_seg.structures.class_table import IGNORE_LABEL, ClassTable

Record = dict[str, Any]

#: The keys of an entry: what each may be, and its value where it is left out. NAME and IMAGES have none.
KEYS: dict[str, tuple[type, Any]] = {
    # The name by which DATASETS.TRAIN and DATASETS.TEST mean it.
    "NAME": (str, None),
    # The folder of the images, sub-folders included.
    "IMAGES": (str, None),
    # A JSON in COCO's panoptic format. Its PNGs are in the folder of its name without .json, or in PANOPTIC_PNGS.
    "PANOPTIC": (str, ""),
    "PANOPTIC_PNGS": (str, ""),
    # A JSON in COCO's instance format.
    "INSTANCES": (str, ""),
    # A folder of PNGs with the names of the images, whose pixels are class ids; without it semantic labels are the
    # classes of the panoptic segments.
    "SEMANTIC": (str, ""),
    # What ends the names of images and semantic PNGs in the place of a suffix, such as "_leftImg8bit.png" and
    # "_gtFine_labelIds.png"; "" = any image suffix.
    "IMAGE_ENDING": (str, ""),
    "SEMANTIC_ENDING": (str, ".png"),
    # A YAML or JSON file of the classes; left out, they are the categories of the panoptic JSON, or of INSTANCES.
    "CLASSES": (str, ""),
    # Values of the semantic PNGs that are no class.
    "IGNORE": (list, [IGNORE_LABEL]),
}


#: What a class may have in a YAML file.
CLASS_KEYS = ("name", "id", "isthing", "supercategory", "color")


class CustomDataset(NamedTuple):
    """A data set of DATASETS.CUSTOM; see `KEYS`. Paths are absolute or relative to where the program runs."""

    name: str
    images: Path
    panoptic: Path | None
    panoptic_pngs: Path | None
    instances: Path | None
    semantic: Path | None
    image_ending: str
    semantic_ending: str
    classes: Path
    ignore: tuple[int, ...]

    @classmethod
    def from_entry(cls, entry: Any, root: Path) -> "CustomDataset":
        """The data set that an entry means.

        Args:
            entry: of DATASETS.CUSTOM.
            root: where relative paths start.

        Raises:
            ConfigError: a key that is unknown, missing or of another type, or no ground truth.
        """
        values = _checked(entry)
        where = f"DATASETS.CUSTOM: {values['NAME']}"

        def path(key: str) -> Path | None:
            return root / Path(values[key]).expanduser() if values[key] else None

        panoptic, instances, semantic = path("PANOPTIC"), path("INSTANCES"), path("SEMANTIC")
        if panoptic is None and instances is None and semantic is None:
            raise ConfigError(f"{where}: no ground truth; it needs PANOPTIC, INSTANCES or SEMANTIC")
        classes = path("CLASSES") or panoptic or instances
        if classes is None:
            raise ConfigError(f"{where}: SEMANTIC alone says no classes; CLASSES names the file that does")
        pngs = path("PANOPTIC_PNGS")
        if panoptic is not None and pngs is None:
            pngs = panoptic.with_suffix("")
        images = path("IMAGES")
        assert images is not None
        return cls(
            values["NAME"],
            images,
            panoptic,
            pngs,
            instances,
            semantic,
            values["IMAGE_ENDING"],
            values["SEMANTIC_ENDING"],
            classes,
            tuple(values["IGNORE"]),
        )

    def table(self) -> ClassTable:
        """The classes; raises DataError."""
        return read_classes(self.classes)

    def load(self, report: Report = stop, table: ClassTable | None = None) -> list[Record]:
        """The records, in the order of the images.

        Args:
            report: gets what is wrong with a record, which is then left out.
            table: the classes, where they have been read already.

        Raises:
            DataError: a file or folder that can't be used; and, by the default report, the first wrong record.
        """
        table = table or self.table()
        parts: list[list[Record]] = []
        if self.panoptic is not None and self.panoptic_pngs is not None:
            parts.append(load_coco_panoptic(self.panoptic, self.images, self.panoptic_pngs, table, report=report))
        if self.instances is not None:
            parts.append(load_coco_instances(self.instances, self.images, table, report=report))
        if self.semantic is not None and not parts:
            records = load_semantic_folder(
                self.images,
                self.semantic,
                how_to_get=f"it is named by DATASETS.CUSTOM {self.name!r}",
                image_ending=self.image_ending,
                label_ending=self.semantic_ending,
                report=report,
            )
            values = self._values(table)
            return [{**record, "sem_seg_values": values} for record in records]
        records = _joined(parts, self.name, report)
        if self.semantic is None:
            return records
        values = self._values(table)
        return [{**record, **self._semantic_label(record), "sem_seg_values": values} for record in records]

    def _values(self, table: ClassTable) -> dict[int, int]:
        try:
            return pixel_values(table, "dataset", self.ignore).by_value()
        except DataError as error:
            raise DataError(f"{self.classes}: {error}") from None

    def _semantic_label(self, record: Record) -> dict[str, str]:
        """The semantic label of an image that a JSON names: in the same sub-folder, with the same name."""
        assert self.semantic is not None
        image = Path(record["file_name"]).relative_to(self.images)
        name = str(image).removesuffix(self.image_ending) if self.image_ending else str(image.with_suffix(""))
        return {"sem_seg_file_name": str(self.semantic / f"{name}{self.semantic_ending}")}


def register_custom(entries: Sequence[Any], root: Path) -> None:
    """Register the data sets of DATASETS.CUSTOM; one that is registered already, by the same entry, stays as it is.

    Raises:
        ConfigError: an entry that can't be used, or a name that is taken.
        DataError: a file of classes that can't be.
    """
    for entry in entries:
        dataset = CustomDataset.from_entry(entry, root)
        if dataset.name in DatasetCatalog.list():
            if getattr(MetadataCatalog.get(dataset.name), "custom", None) == dataset:
                continue
            raise ConfigError(f"DATASETS.CUSTOM: the name {dataset.name!r} is taken by another data set")
        table = dataset.table()
        try:
            metadata = table.to_metadata()
        except ValueError as error:
            raise DataError(f"{dataset.classes}: {error}") from None
        DatasetCatalog.register(dataset.name, partial(dataset.load, table=table))
        MetadataCatalog.get(dataset.name).set(**metadata, evaluator_type="unified_seg", custom=dataset)


def read_classes(path: Path) -> ClassTable:
    """The classes of a file.

    Args:
        path: a COCO JSON, whose `categories` they are, or a YAML list (by itself or as `categories`) of the same: each
            a name, or name with id (default: its place in the list, from 0), isthing (default: no), supercategory and
            color.

    Raises:
        DataError: not such a file, or classes that make no table.
    """
    if path.suffix.lower() == ".json":
        return read_categories(path)
    categories = listed_categories(read_yaml(path))
    if isinstance(categories, list):
        categories = [_category(path, index, entry) for index, entry in enumerate(categories)]
    return class_table(path, categories)


def _category(path: Path, index: int, entry: Any) -> Any:
    """An entry of a YAML list as one of COCO's categories."""
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, dict):
        return entry
    if unknown := [key for key in entry if key not in CLASS_KEYS]:
        raise DataError(f"{path}: record {index}: a class has {', '.join(CLASS_KEYS)}, and no {unknown[0]!r}")
    return {"id": index, "isthing": 0, **entry}


def _checked(entry: Any) -> dict[str, Any]:
    """The values of an entry, with those that it leaves out."""
    if not isinstance(entry, Mapping):
        raise ConfigError(f"DATASETS.CUSTOM: an entry is keys and values, got {reprlib.repr(entry)}")
    where = f"DATASETS.CUSTOM: {entry.get('NAME', 'an entry without NAME')}"
    if unknown := [str(key) for key in entry if key not in KEYS]:
        raise ConfigError(f"{where}: there is no key {', '.join(unknown)}; the keys are {', '.join(KEYS)}")
    values = {key: entry.get(key, default) for key, (_, default) in KEYS.items()}
    for key, (kind, default) in KEYS.items():
        if not isinstance(values[key], kind) or (default is None and not values[key]):
            raise ConfigError(f"{where}: {key} must be a {kind.__name__}, got {reprlib.repr(values[key])}")
    if not re.fullmatch(r"\w[\w.+ -]*", values["NAME"]):
        raise ConfigError(f"{where}: NAME may have letters, digits, spaces and _ . + -, since folders are named by it")
    if any(type(value) is not int for value in values["IGNORE"]):
        raise ConfigError(f"{where}: IGNORE must be a list of whole numbers, got {reprlib.repr(values['IGNORE'])}")
    return values


def _joined(parts: Sequence[Sequence[Record]], name: str, report: Report) -> list[Record]:
    """One record an image, of what each part says of it."""
    by_file = [{record["file_name"]: record for record in part} for part in parts]
    joined = []
    for file in dict.fromkeys(file for part in by_file for file in part):
        said = [part[file] for part in by_file if file in part]
        if len(said) < len(parts):
            report(
                Problem(
                    "missing-truth", file, f"only {len(said)} of the {len(parts)} ground truths of {name!r} have it"
                )
            )
        elif len({(record["height"], record["width"]) for record in said}) > 1:
            sizes = [f"{record['height']}x{record['width']}" for record in said]
            report(Problem("size", file, f"the ground truths of {name!r} say {' and '.join(sizes)}"))
        else:
            joined.append({key: value for record in reversed(said) for key, value in record.items()})
    return joined
