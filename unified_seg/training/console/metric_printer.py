"""The losses in the log."""

from detectron2.utils.events import CommonMetricPrinter, EventStorage


class MetricPrinter(CommonMetricPrinter):
    """Detectron2's writer, also for an iteration that is written twice: a signal can end the training just after one.

    Detectron2's divides by the number of iterations since it wrote last.
    """

    def _get_eta(self, storage: EventStorage) -> str | None:
        if self._last_write is not None and self._last_write[0] == storage.iter:
            return None
        return super()._get_eta(storage)
