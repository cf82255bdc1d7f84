"""The plan of an ablation, read and checked before anything runs.

It is projects/<project>/ablation.yaml or, for other data, projects/<project>/<data>/ablation.yaml.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct

from unified_seg.data.io.file_system import resolve_below
from unified_seg.data.io.text_files import read_yaml
from unified_seg.data.io.typed_records import convert_record
from unified_seg.data.problems import DataError, MissingFileError, RecordError
from unified_seg.reporting.ablation.metrics import list_known_metrics
from unified_seg.reporting.ablation.toyscapes_data import ToyscapesSpec
from unified_seg.reporting.errors import ReportingError

Metrics = Annotated[tuple[str, ...], Meta(min_length=1)]
Seed = Annotated[int, Meta(ge=0, lt=2**32)]
#: Also the name of a folder.
DatasetName = Annotated[str, Meta(pattern=r"^\w[\w.-]*$")]
Part = TypeVar("Part", bound=Struct)

# A plan of others must not say where a run is written.
CHOSEN_BY_THE_COMMAND = {"OUTPUT_DIR"}


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the table: an entry of `rows` in ablation.yaml.

    Attributes:
        name: as the table shows it.
        config: the config file, relative to the root of the repository.
        overrides: config key -> value, applied after the plan's budget, so a row may set another budget.
        base: the row from whose last checkpoint of the same seed this one starts; None: from its config's weights.
        kind: "train" (and evaluate), or "evaluate" (the base's checkpoint under this row's config).
        metrics: what it reports, see `metrics.py`.
        baseline: the row that it is compared with.
    """

    name: str
    config: str
    overrides: dict[str, Any] = {}
    base: str | None = None
    kind: Annotated[str, Meta(pattern="^(train|evaluate)$")] = "train"
    metrics: Metrics = ("miou",)
    baseline: str | None = None

    @property
    def slug(self) -> str:
        """The name as a folder: lower-case letters and digits, all else replaced by underscores."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")


class PlanKeys(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of an ablation.yaml.

    Attributes:
        datasets: "test" -> the data set of the table, "val" -> the one for choices, reported in results.json alone; or,
            as Toyscapes' are called, "val" -> the data set of the table, "heldout" -> the one for choices.
        rows: in the order of the table, with the keys of `Row`.
        budget: config key -> value, the same for every row.
        seeds: used unless the command names others.
        toyscapes: the Toyscapes data of the data sets, with the keys of `ToyscapesSpec`; None: the user provides them.
        images: data sets that the user provides -> their numbers of images, checked before the first run.
        metrics: of rows that name none.
    """

    datasets: dict[str, DatasetName]
    rows: Annotated[list[Any], Meta(min_length=1)]
    budget: dict[str, Any] = {}
    seeds: Annotated[tuple[Seed, ...], Meta(min_length=1)] = (0, 1, 2)
    toyscapes: Any = None
    images: dict[str, Annotated[int, Meta(ge=1)]] = {}
    metrics: Metrics = ("miou",)


@dataclass(frozen=True)
class AblationPlan:
    """The plan of a project.

    Attributes:
        project: the folder below projects/, such as "pspnet" or "pspnet/camvid".
        rows, datasets, budget, seeds, toyscapes, images: see `PlanKeys`.
    """

    project: str
    rows: tuple[Row, ...]
    datasets: Mapping[str, str]
    budget: Mapping[str, Any]
    seeds: tuple[int, ...]
    toyscapes: ToyscapesSpec | None
    images: Mapping[str, int]

    @property
    def reported(self) -> str:
        """The data set of the table."""
        return choose_reported(self.datasets)

    @property
    def choices(self) -> tuple[str, str] | None:
        """The key and the name of the data set for choices; None without one."""
        key = "val" if "test" in self.datasets else "heldout"
        return (key, self.datasets[key]) if key in self.datasets else None

    def find_row(self, name: str) -> Row:
        """Return the row with this name or this folder name; raise ReportingError, which lists the rows, if none."""
        for row in self.rows:
            if name in (row.name, row.slug):
                return row
        known = ", ".join(f"{row.name!r} ({row.slug})" for row in self.rows)
        raise ReportingError(f"projects/{self.project}/ablation.yaml: no row {name!r}; expected one of {known}")

    def order_rows(self, names: Sequence[str] | None = None) -> list[Row]:
        """Return the named rows (None: all) and the rows that they start from, every base before its users."""
        ordered: list[Row] = []

        def add(row: Row) -> None:
            if row.base is not None:
                add(self.find_row(row.base))
            if row not in ordered:
                ordered.append(row)

        for row in self.rows if names is None else [self.find_row(name) for name in names]:
            add(row)
        return ordered


def choose_reported(datasets: Mapping[str, str]) -> str:
    """Return the data set of the table, of the `datasets` of a plan."""
    return datasets["test"] if "test" in datasets else datasets["val"]


def read_plan(path: Path, root: Path) -> AblationPlan:
    """Read and check an ablation.yaml.

    Args:
        path: the ablation.yaml in projects/<project> or a folder of it.
        root: the root of the repository, to which config paths are relative.

    Raises:
        ReportingError: with the file and the row: not YAML, an unknown or missing key, a wrong type, no such config
            file, two rows of one name, an unknown base, baseline, kind or metric, bases in a circle.
    """
    try:
        content = read_yaml(path)
    except MissingFileError:
        raise ReportingError(f"{path}: no such file; a project's ablation is described there") from None
    except DataError as error:
        raise ReportingError(str(error)) from None
    try:
        plan = _convert(content, project=_name_project(path.parent, root))
        _check(plan, root)
    except ReportingError as error:
        raise ReportingError(f"{path}: {error}") from None
    return plan


def _name_project(folder: Path, root: Path) -> str:
    projects = root / "projects"
    return folder.relative_to(projects).as_posix() if folder.is_relative_to(projects) else folder.name


def _convert(content: Any, project: str) -> AblationPlan:
    """Return the content of the file as a plan; raise ReportingError without the file's name."""
    keys = _convert_part(content, PlanKeys)
    rows = []
    for number, entry in enumerate(keys.rows, 1):
        name = entry.get("name") if isinstance(entry, dict) else None
        with_default = {"metrics": keys.metrics, **entry} if isinstance(entry, dict) else entry
        rows.append(_convert_part(with_default, Row, where=f"row {name or number!r}: "))
    toyscapes = None if keys.toyscapes is None else _convert_part(keys.toyscapes, ToyscapesSpec, where="toyscapes: ")
    return AblationPlan(project, tuple(rows), keys.datasets, keys.budget, keys.seeds, toyscapes, keys.images)


def _convert_part(content: Any, kind: type[Part], where: str = "") -> Part:
    try:
        return convert_record(content, kind)
    except RecordError as error:
        raise ReportingError(f"{where}{error}") from None


def _check(plan: AblationPlan, root: Path) -> None:
    """Check what the types do not express; raise ReportingError without the file's name."""
    roles = set(plan.datasets)
    if not roles & {"val", "test"} or not (roles <= {"test", "val"} or roles <= {"val", "heldout"}):
        raise ReportingError(
            f"datasets: expected test and val, val and heldout, or one of them alone, got {', '.join(roles)}"
        )
    if len(set(plan.seeds)) != len(plan.seeds):
        raise ReportingError(f"seeds: expected different numbers, got {list(plan.seeds)}")
    for part, settings in (("budget", plan.budget), *((f"row {row.name!r}", row.overrides) for row in plan.rows)):
        if refused := sorted(settings.keys() & CHOSEN_BY_THE_COMMAND):
            raise ReportingError(f"{part}: {refused[0]} can't be set, the ablation chooses it")
    known_metrics = list_known_metrics()
    names, slugs = {row.name for row in plan.rows}, [row.slug for row in plan.rows]
    for row in plan.rows:
        where = f"row {row.name!r}"
        if not row.slug or slugs.count(row.slug) > 1:
            raise ReportingError(f"{where}: name: its folder name {row.slug!r} is empty or that of another row too")
        if row.kind == "evaluate" and row.base is None:
            raise ReportingError(f"{where}: base is missing; kind evaluate needs the row whose checkpoint it evaluates")
        if unknown := set(row.metrics) - set(known_metrics):
            raise ReportingError(
                f"{where}: metrics: unknown {', '.join(sorted(unknown))}; expected some of {', '.join(known_metrics)}"
            )
        for key, other in (("base", row.base), ("baseline", row.baseline)):
            if other is not None and other not in names:
                raise ReportingError(f"{where}: {key}: no row is called {other!r}")
        try:
            config = resolve_below(root, row.config)
        except RecordError as error:
            raise ReportingError(f"{where}: config: {error}") from None
        if not config.is_file():
            raise ReportingError(f"{where}: config: {row.config} is not a file in {root}")
    _check_for_circles(plan)


def _check_for_circles(plan: AblationPlan) -> None:
    for start in plan.rows:
        path, row = [start.name], start
        while row.base is not None:
            path.append(row.base)
            if row.base == start.name:
                raise ReportingError(f"row {start.name!r}: base: the bases form a circle: {' -> '.join(path)}")
            if len(path) > len(plan.rows):
                break  # a circle that `start` only leads into; it is reported from one of its own rows
            row = plan.find_row(row.base)
