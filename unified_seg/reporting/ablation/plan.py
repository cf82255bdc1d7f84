"""What projects/<project>/ablation.yaml says, read and checked before anything runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from unified_seg.reporting.ablation.data import ToyscapesSpec

#: metric name -> where train_net's results.json holds it, under results[data set]; percent.
METRICS = {
    "miou": ("sem_seg", "mIoU"),
    "ap": ("segm", "AP"),
    "pq": ("panoptic_seg", "PQ"),
    # Share of the pixels of detected vehicles with the right class: by pixels before and after the fusion, by boxes.
    "vehicle_pixels": ("recognition", "pixels_category-vehicle"),
    "vehicle_pixels_fused": ("recognition", "pixels_fused_category-vehicle"),
    "vehicle_boxes": ("recognition", "boxes_category-vehicle"),
    # Of error prediction and correction: mIoU of the head inside; how well its errors are found, at the threshold set
    # and at the best one, and by the head's own doubt at its best one; the share of hard errors found.
    "miou_uncorrected": ("sem_seg_uncorrected", "mIoU"),
    "error_iou": ("errors", "IoU"),
    "error_iou_best": ("errors", "best_IoU"),
    "confidence_error_iou": ("errors", "confidence_best_IoU"),
    "hard_recall": ("errors", "hard_recall"),
    # Of confusion groups: mIoU of the head inside.
    "miou_ungrouped": ("sem_seg_ungrouped", "mIoU"),
}
KINDS = ("train", "evaluate")


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: as the table shows it.
        config: the config file, relative to the root of the repository.
        overrides: config key -> value, after the plan's budget, so a row may ask for another budget.
        base: the row from whose last checkpoint of the same seed this one starts; None: from its config's weights.
        kind: "train" (then evaluate), or "evaluate" (the base's checkpoint under this row's config).
        metrics: what it reports, names of `METRICS`.
        baseline: the row that it is compared with; None: with none.
    """

    name: str
    config: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None
    kind: str = "train"
    metrics: tuple[str, ...] = ("miou",)
    baseline: str | None = None

    @property
    def slug(self) -> str:
        """The name as a folder: lower-case letters and digits, the rest underscores."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")


@dataclass(frozen=True)
class AblationPlan:
    """All of an ablation.yaml.

    Attributes:
        project: the folder under projects/.
        rows: in the order of the table.
        datasets: "val" -> the data set of the table; "heldout" -> the one for choices, reported in results.json alone.
        budget: config key -> value, the same for every row.
        seeds: used unless the command names others.
        toyscapes: the Toyscapes data that the data sets need; None: the data are the user's affair.
    """

    project: str
    rows: tuple[Row, ...]
    datasets: Mapping[str, str]
    budget: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    toyscapes: ToyscapesSpec | None = None

    def row(self, name: str) -> Row:
        """The row with this name or this folder name. Raises ValueError, which lists the rows, where there is none."""
        for row in self.rows:
            if name in (row.name, row.slug):
                return row
        raise ValueError(
            f"no row {name!r} in the ablation of {self.project}; it has {', '.join(map(_both, self.rows))}"
        )

    def in_order(self, names: Sequence[str] | None = None) -> list[Row]:
        """The named rows (all, by default) and the bases that they start from, every base before its users."""
        ordered: list[Row] = []

        def add(row: Row) -> None:
            if row.base is not None:
                add(self.row(row.base))
            if row not in ordered:
                ordered.append(row)

        for row in self.rows if names is None else [self.row(name) for name in names]:
            add(row)
        return ordered


def read_plan(path: Path, root: Path) -> AblationPlan:
    """Read and check an ablation.yaml.

    Args:
        path: projects/<project>/ablation.yaml.
        root: the root of the repository, to which config paths are relative.

    Raises:
        ValueError: with the file and the row: not YAML, an unknown or missing key, a wrong type, a config file that is
            not there, two rows of one name, an unknown base, baseline, kind or metric, bases in a circle.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; a project's ablation is described there") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as YAML: {error}") from None
    try:
        plan = _parse(content, project=path.parent.name)
        _check(plan, root)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return plan


def _parse(content: Any, project: str) -> AblationPlan:
    known = {"datasets": dict, "rows": list, "budget": dict, "seeds": list, "toyscapes": dict, "metrics": list}
    top = _typed(content, known, required=("datasets", "rows"), where="the file")
    _typed(top["datasets"], {"val": str, "heldout": str}, required=("val",), where="datasets")
    default_metrics = top.get("metrics", ["miou"])
    seeds = top.get("seeds", [0, 1, 2])
    if not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds) or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be different whole numbers from 0, got {seeds}")
    return AblationPlan(
        project=project,
        rows=tuple(_parse_row(entry, index, default_metrics) for index, entry in enumerate(top["rows"])),
        datasets=top["datasets"],
        budget=top.get("budget", {}),
        seeds=tuple(seeds),
        toyscapes=ToyscapesSpec.parse(top["toyscapes"]) if "toyscapes" in top else None,
    )


def _parse_row(entry: Any, index: int, default_metrics: list[str]) -> Row:
    known = {"name": str, "config": str, "overrides": dict, "base": str, "kind": str, "metrics": list, "baseline": str}
    name = entry.get("name") if isinstance(entry, dict) else None
    fields = _typed(entry, known, required=("name", "config"), where=f"row {name or index + 1!r}")
    return Row(**{**fields, "metrics": tuple(fields.get("metrics", default_metrics))})


def _typed(content: Any, known: Mapping[str, type], required: Sequence[str], where: str) -> dict[str, Any]:
    """`content` as a mapping with these keys and types; ValueError otherwise."""
    if not isinstance(content, dict):
        raise ValueError(f"{where} must be a mapping with the keys {', '.join(known)}, got {content!r}")
    unknown = [str(key) for key in content if key not in known]
    if unknown:
        raise ValueError(f"{where} has the unknown key {', '.join(unknown)}; known are {', '.join(known)}")
    missing = [key for key in required if key not in content]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    for key, value in content.items():
        if not isinstance(value, known[key]):
            kind = {"dict": "a mapping", "list": "a list", "str": "a string"}[known[key].__name__]
            raise ValueError(f"{where}: {key} must be {kind}, got {value!r}")
    return content


def _check(plan: AblationPlan, root: Path) -> None:
    if not plan.rows:
        raise ValueError("rows is empty")
    slugs = [row.slug for row in plan.rows]
    for row, slug in zip(plan.rows, slugs):
        where = f"row {row.name!r}"
        if not slug or slugs.count(slug) > 1:
            raise ValueError(f"{where}: its folder name {slug!r} is empty or another row's too")
        if row.kind not in KINDS:
            raise ValueError(f"{where}: kind is train or evaluate, not {row.kind!r}")
        if row.kind == "evaluate" and row.base is None:
            raise ValueError(f"{where}: a row that is only evaluated needs the base whose checkpoint it evaluates")
        unknown = [metric for metric in row.metrics if metric not in METRICS]
        if unknown or not row.metrics:
            raise ValueError(f"{where}: metrics are some of {', '.join(METRICS)}, got {list(row.metrics)}")
        for role, other in (("base", row.base), ("baseline", row.baseline)):
            if other is not None and other not in {each.name for each in plan.rows}:
                raise ValueError(f"{where}: no row is called {other!r}, which is its {role}")
        if not (root / row.config).is_file():
            raise ValueError(f"{where}: its config {row.config} is not a file in {root}")
    _check_circles(plan)


def _check_circles(plan: AblationPlan) -> None:
    for start in plan.rows:
        path, row = [start.name], start
        while row.base is not None:
            path.append(row.base)
            if row.base == start.name:
                raise ValueError(f"bases go in a circle: {' -> '.join(path)}")
            if len(path) > len(plan.rows):
                break  # a circle that `start` only leads into; it is reported from one of its own rows
            row = plan.row(row.base)


def _both(row: Row) -> str:
    return f"{row.name!r} ({row.slug})"
