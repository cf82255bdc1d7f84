"""The metrics that a row of an ablation can report."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from unified_seg.config.heads import ablation_metrics, earlier_predictions


class Metric(NamedTuple):
    """A score in the results.json of a run.

    Attributes:
        task, key: the score is results[data set][task][key], in percent.
        caption: of its column in a table.
    """

    task: str
    key: str
    caption: str


#: Metrics of every model, by the name that ablation.yaml and results.json have.
METRICS = {
    "miou": Metric("sem_seg", "mIoU", "mIoU"),
    "ap": Metric("segm", "AP", "mask AP"),
    "pq": Metric("panoptic_seg", "PQ", "PQ"),
    "pq_things": Metric("panoptic_seg", "PQ_th", "PQ of things"),
    "rq_things": Metric("panoptic_seg", "RQ_th", "RQ of things"),
    # Percentage of the pixels of detected vehicles with the right class: by pixel before and after the fusion, by box.
    "vehicle_pixels": Metric("recognition", "pixels_category-vehicle", "vehicles right by pixels"),
    "vehicle_pixels_fused": Metric("recognition", "pixels_fused_category-vehicle", "by fused pixels"),
    "vehicle_boxes": Metric("recognition", "boxes_category-vehicle", "by boxes"),
}
#: For each earlier prediction that a head declares, "miou_<earlier>" is the mIoU of that one.
EARLIER_PREFIX = "miou_"


def list_known_metrics() -> list[str]:
    """Return the names that ablation.yaml may use."""
    return [*METRICS, *ablation_metrics(), *(EARLIER_PREFIX + earlier for earlier in earlier_predictions())]


def find_metric(name: str) -> Metric | None:
    """Return the metric of this name; None for other keys of a row."""
    earlier = name.removeprefix(EARLIER_PREFIX)
    if earlier != name:
        return Metric(f"sem_seg_{earlier}", "mIoU", f"mIoU {earlier}")
    declared = ablation_metrics()
    return Metric(*declared[name]) if name in declared else METRICS.get(name)


def list_metrics(rows: Iterable[Mapping[str, Any]]) -> dict[str, Metric]:
    """Return the metrics that the rows of a results.json have an entry of, in their order."""
    found = {name: find_metric(name) for row in rows for name in row}
    return {name: metric for name, metric in found.items() if metric is not None}
