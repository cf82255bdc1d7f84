"""Runs that write predictions as files, with a predictor whose outputs have the form of the model's."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unified_seg.inference.files.prediction_run import PredictionRun
from unified_seg.inference.files.sources import Item, Source
from unified_seg.inference.files.writers import JsonWriter
from unified_seg.structures.class_table import ClassTable, SegmentClass
from unified_seg.structures.logit_map import LogitMap

TABLE = ClassTable([SegmentClass("road", 0, None, 1, "road", (9, 9, 9))])


class TwoImages(Source):
    def __iter__(self) -> Iterator[Item]:
        for name, side in (("small", 8), ("large", 64)):
            yield Item(f"{name}.png", name, np.zeros((side, side, 3), np.uint8), "v")


class WindowedPredictor:
    """Predicts the errors of the model for images of one window alone."""

    def __init__(self) -> None:
        self.predicted: list[Any] = []

    def predict_all(
        self, items: Iterable[Item], read: Callable[[Item], Any], finish: Callable[..., Any]
    ) -> Iterator[tuple[Item, Future[Any]]]:
        for item in items:
            self.predicted.append(item.image_id)
            side = (image := read(item)).shape[0]
            outputs: dict[str, Any] = {"sem_seg_labels": torch.zeros(side, side, dtype=torch.uint8)}
            if side == 8:
                error = LogitMap.from_logits(torch.zeros(1, side, side), 1, (side, side))
                outputs["semantic_logit_maps"] = {"error": error}
            (done := Future[Any]()).set_result(finish(item, image, outputs))
            yield item, done


def test_images_without_an_error_map_are_predicted_once(tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        runs.append(WindowedPredictor())
        PredictionRun(tmp_path, TwoImages(), {}).predict(runs[-1], [JsonWriter(tmp_path, TABLE)], 0)  # type: ignore[arg-type]
    assert [run.predicted for run in runs] == [["small", "large"], []]
    assert [file.name for file in (tmp_path / "error").iterdir()] == ["small.png"]
    (tmp_path / "json/large.json").unlink()
    PredictionRun(tmp_path, TwoImages(), {}).predict(last := WindowedPredictor(), [JsonWriter(tmp_path, TABLE)], 0)  # type: ignore[arg-type]
    assert last.predicted == ["large"]
