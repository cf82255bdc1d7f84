"""Custom data sets: DATASETS.CUSTOM lists their folders and files.

The keys of an entry are those of `CustomEntry`; relative paths start at DETECTRON2_DATASETS. docs/data.md has examples.
"""

import re
import reprlib
from collections.abc import Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog
from msgspec import Meta, Struct

from unified_seg.config import ConfigError
from unified_seg.data.coco.categories import build_class_table, read_classes, remove_root_category
from unified_seg.data.coco.instance_format import load_coco_instances
from unified_seg.data.coco.panoptic_format import load_coco_panoptic
from unified_seg.data.datasets.custom.class_map import ClassMap, ClassMapEntry
from unified_seg.data.datasets.registration import dataset_classes, register_dataset
from unified_seg.data.datasets.semantic_folder import load_image_folder, load_semantic_folder
from unified_seg.data.io.semantic_labels import WIDE_VOID, PixelValues
from unified_seg.data.io.text_files import read_json
from unified_seg.data.io.typed_records import convert_record
from unified_seg.data.problems import DataError, MissingFileError, Problem, RecordError, Report, raise_error
from unified_seg.structures.class_table import IGNORE_LABEL, ClassTable

Record = dict[str, Any]
NonEmpty = Annotated[str, Meta(min_length=1)]


class CustomEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of DATASETS.CUSTOM."""

    # The name for DATASETS.TRAIN and DATASETS.TEST.
    NAME: NonEmpty
    # The folder of the images, sub-folders included.
    IMAGES: NonEmpty
    # A JSON in COCO's panoptic format. Its PNGs are in the folder of its name without .json, or in PANOPTIC_PNGS.
    PANOPTIC: str = ""
    PANOPTIC_PNGS: str = ""
    # A JSON in COCO's instance format.
    INSTANCES: str = ""
    # A folder of PNGs with the names of the images, whose pixels are class ids; without it semantic labels are the
    # classes of the panoptic segments.
    SEMANTIC: str = ""
    # The ends of the names of images and semantic PNGs, such as "_leftImg8bit.png" and "_gtFine_labelIds.png"; "" = any
    # image suffix.
    IMAGE_ENDING: str = ""
    SEMANTIC_ENDING: str = ".png"
    # A YAML or JSON file of the classes; by default the categories of PANOPTIC, or of INSTANCES.
    CLASSES: str = ""
    # Values of the semantic PNGs that are void, or a single one; [] for none. By default 255, or 65535 if 255 is the id
    # of a class.
    IGNORE: int | tuple[int, ...] | None = None
    # Classes to merge, rename, drop or ignore.
    CLASS_MAP: ClassMapEntry = ClassMapEntry()


class CustomDataset(NamedTuple):
    """A data set of DATASETS.CUSTOM, see `CustomEntry`; paths are absolute or relative to the working directory."""

    name: str
    images: Path
    panoptic: Path | None
    panoptic_pngs: Path | None
    instances: Path | None
    semantic: Path | None
    image_ending: str
    semantic_ending: str
    classes: Path | None
    ignore: tuple[int, ...] | None
    class_map: ClassMapEntry = ClassMapEntry()

    @classmethod
    def from_entry(cls, entry: Any, root: Path) -> "CustomDataset":
        """Return the data set of an entry.

        Args:
            entry: of DATASETS.CUSTOM.
            root: the folder of relative paths.

        Raises:
            ConfigError: an unknown or missing key, or a value of a wrong type.
        """
        values = _convert_entry(entry)
        where = f"DATASETS.CUSTOM: {values.NAME}"

        def resolve(path: str) -> Path | None:
            return root / Path(path).expanduser() if path else None

        panoptic, instances, semantic = (resolve(p) for p in (values.PANOPTIC, values.INSTANCES, values.SEMANTIC))
        classes = resolve(values.CLASSES) or panoptic or instances
        if classes is None and semantic is not None:
            raise ConfigError(f"{where}: CLASSES is required, since SEMANTIC does not contain the classes")
        pngs = resolve(values.PANOPTIC_PNGS)
        if panoptic is not None and pngs is None:
            pngs = panoptic.with_suffix("")
        return cls(
            values.NAME,
            root / Path(values.IMAGES).expanduser(),
            panoptic,
            pngs,
            instances,
            semantic,
            values.IMAGE_ENDING,
            values.SEMANTIC_ENDING,
            classes,
            (values.IGNORE,) if isinstance(values.IGNORE, int) else values.IGNORE,
            values.CLASS_MAP,
        )

    def read_table(self) -> ClassTable | None:
        """Return the classes of the files; None if the data set has images alone, without classes; raises DataError.

        Those of the data set are the ones that `map_classes` makes of them.
        """
        if self.classes is None:
            return None
        if self.classes not in (self.panoptic, self.instances):
            return read_classes(self.classes)
        content = read_json(self.classes)
        if isinstance(content, dict) and not content.get("annotations") and not content.get("categories"):
            return None
        return build_class_table(self.classes, remove_root_category(self.classes, content))

    def map_classes(self, table: ClassTable | None) -> ClassMap:
        """Return the mapping of the classes of the files, by CLASS_MAP; raises ConfigError."""
        where = f"DATASETS.CUSTOM: {self.name}"
        if table is None:
            raise ConfigError(f"{where}: CLASS_MAP: the data set has no classes of its own")
        return ClassMap.from_entry(self.class_map, table, where)

    def load(self, report: Report = raise_error, table: ClassTable | None = None) -> list[Record]:
        """Return the records, in the order of the images, with the classes of CLASS_MAP if there is one.

        Args:
            report: gets the problems; a wrong record is left out.
            table: the classes of the files, if they have been read already.

        Raises:
            DataError: an unusable file or folder; and, by the default report, the first wrong record.
            ConfigError: see `map_classes`.
        """
        if not self.class_map:
            return self._load(report, table)
        mapping = self.map_classes(table or self.read_table())
        return mapping.map_records(self._load(report, mapping.source))

    def _load(self, report: Report, table: ClassTable | None) -> list[Record]:
        """Return the records with the classes of the files, see `load`."""
        how_to_get = f"DATASETS.CUSTOM {self.name!r} names it"
        if self.panoptic is None and self.instances is None and self.semantic is None:
            return load_image_folder(self.images, how_to_get, image_ending=self.image_ending, report=report)
        table = table or self.read_table() or dataset_classes(MetadataCatalog.get(self.name))
        for folder in (self.images, self.semantic):
            if folder is not None and not folder.is_dir():  # one problem, not one of each file in it
                raise MissingFileError(f"{folder}: there is no such folder; {how_to_get}")
        parts: list[list[Record]] = []
        left_out: set[str | None] = set()
        options: dict[str, Any] = {"report": report, "left_out": left_out}
        if self.panoptic is not None and self.panoptic_pngs is not None:
            parts.append(load_coco_panoptic(self.panoptic, self.images, self.panoptic_pngs, table, **options))
        if self.instances is not None:
            parts.append(load_coco_instances(self.instances, self.images, table, **options))
        if self.semantic is not None and not parts:
            records = load_semantic_folder(
                self.images,
                self.semantic,
                how_to_get=how_to_get,
                image_ending=self.image_ending,
                label_ending=self.semantic_ending,
                report=report,
            )
            values = self._map_values(table)
            return [{**record, "sem_seg_values": values} for record in records]
        records = _join(parts, self.name, left_out, report)
        if self.semantic is None:
            return records
        values = self._map_values(table)
        return [{**record, **self._find_semantic_label(record), "sem_seg_values": values} for record in records]

    def _map_values(self, table: ClassTable) -> dict[int, int]:
        try:
            return PixelValues.from_table(table, "dataset", self._find_void_values(table)).to_dict()
        except DataError as error:
            raise DataError(f"{self.classes}: {error}") from None

    def _find_void_values(self, table: ClassTable) -> tuple[int, ...]:
        if self.ignore is not None:
            return self.ignore
        return (WIDE_VOID if IGNORE_LABEL in table.by_dataset_id else IGNORE_LABEL,)

    def _find_semantic_label(self, record: Record) -> dict[str, str]:
        """Return the semantic label of an image of a JSON: in the same sub-folder, with the same name."""
        assert self.semantic is not None
        image = Path(record["file_name"]).relative_to(self.images)
        name = str(image).removesuffix(self.image_ending) if self.image_ending else str(image.with_suffix(""))
        return {"sem_seg_file_name": str(self.semantic / f"{name}{self.semantic_ending}")}


def register_custom(entries: Sequence[Any], root: Path, train: Sequence[str] = ()) -> None:
    """Register the data sets of DATASETS.CUSTOM, unless the same entry is registered already.

    Args:
        entries: of DATASETS.CUSTOM.
        root: the folder of relative paths.
        train: the names of DATASETS.TRAIN, whose classes are those of data sets that have images alone.

    Raises:
        ConfigError: an invalid entry, a name of another data set, or images alone without classes.
        DataError: an invalid file of classes.
    """
    without_classes = []
    for entry in entries:
        dataset = CustomDataset.from_entry(entry, root)
        if dataset.name in DatasetCatalog.list():
            if getattr(MetadataCatalog.get(dataset.name), "custom", None) == dataset:
                continue
            raise ConfigError(f"DATASETS.CUSTOM: {dataset.name!r} is the name of another data set")
        table = dataset.read_table()
        if dataset.class_map:
            _register(dataset, table, dataset.map_classes(table).table)
        elif table is not None:
            _register(dataset, table, table)
        else:
            without_classes.append(dataset)
    for dataset in without_classes:
        known = [name for name in train if name != dataset.name and name in DatasetCatalog.list()]
        if not known:
            cause = "no ground truth (PANOPTIC, INSTANCES or SEMANTIC) and no CLASSES"
            raise ConfigError(
                f"DATASETS.CUSTOM: {dataset.name}: {cause}; images alone need CLASSES, or another set in DATASETS.TRAIN"
            )
        classes = dataset_classes(MetadataCatalog.get(known[0]))
        _register(dataset, classes, classes)


def _register(dataset: CustomDataset, table: ClassTable | None, classes: ClassTable) -> None:
    """Register a data set with the classes of its files and those that CLASS_MAP makes of them."""
    try:
        register_dataset(dataset.name, partial(dataset.load, table=table), classes, custom=dataset)
    except ValueError as error:
        raise DataError(f"{dataset.classes or dataset.name}: {error}") from None


def _convert_entry(entry: Any) -> CustomEntry:
    """Return the values of an entry, with the defaults of those that it lacks; raises ConfigError."""
    if not isinstance(entry, Mapping):
        raise ConfigError(f"DATASETS.CUSTOM: an entry must be keys and values, got {reprlib.repr(entry)}")
    where = f"DATASETS.CUSTOM: {entry.get('NAME', 'an entry without NAME')}"
    try:
        values = convert_record(entry, CustomEntry)
    except RecordError as error:
        raise ConfigError(f"{where}: {error}") from None
    if not re.fullmatch(r"\w[\w.+ -]*", values.NAME):
        raise ConfigError(f"{where}: NAME must have only letters, digits, spaces and _ . + -, for the names of folders")
    return values


def _join(parts: Sequence[Sequence[Record]], name: str, left_out: Set[str | None], report: Report) -> list[Record]:
    """Return one record an image, with what each part has of it.

    Images that a part has left out with a problem, see `load_coco_instances`, are left out without another one.
    """
    by_file = [{record["file_name"]: record for record in part} for part in parts]
    joined = []
    for file in dict.fromkeys(file for part in by_file for file in part):
        found = [part[file] for part in by_file if file in part]
        if len(found) < len(parts):
            if left_out & {file, None}:
                continue
            cause = f"only {len(found)} of the {len(parts)} ground truths of {name!r} have it"
            report(Problem("missing-ground-truth", file, cause))
        elif len({(record["height"], record["width"]) for record in found}) > 1:
            sizes = [f"{record['height']}x{record['width']}" for record in found]
            report(Problem("size", file, f"the ground truths of {name!r} have the sizes {' and '.join(sizes)}"))
        else:
            joined.append({key: value for record in reversed(found) for key, value in record.items()})
    return joined
