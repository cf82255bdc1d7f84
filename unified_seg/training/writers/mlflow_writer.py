"""The writer for MLflow, which reads its own settings: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME ..."""

import math
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from unified_seg.config import dump_config
from unified_seg.training.writers.experiment import ExperimentWriter

TAG = "unified_seg.run"


class MlflowWriter(ExperimentWriter):
    """Send the curves and the config of a training to MLflow; see `ExperimentWriter`."""

    def start(self) -> None:
        import mlflow

        self._entities = mlflow.entities
        self._client = mlflow.MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "unified_seg")
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment is not None else self._client.create_experiment(name)
        found = self._client.search_runs([number], f"tags.`{TAG}` = '{self.key}'")
        run = found[0] if found else self._client.create_run(number, tags={TAG: self.key}, run_name=self.name)
        self._run = run.info.run_id
        self._client.update_run(self._run, status="RUNNING")
        self._client.log_text(self._run, dump_config(self.cfg), "config.yaml")

    def send(self, values: Mapping[str, float], pictures: Mapping[str, Any], iteration: int) -> None:
        now = int(1000 * time.time())
        metrics = [
            # MLflow takes these characters alone.
            self._entities.Metric(re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII), value, now, iteration)
            for name, value in values.items()
            if math.isfinite(value)
        ]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        if self._is_started:
            self._client.set_terminated(self._run)
