"""A run in MLflow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from vprtrain.callbacks.extras import import_extra
from vprtrain.callbacks.tracking_log import TrackingLog, refusals
from vprtrain.engine import Run
from vprtrain.engine.persistence import fingerprints

LONGEST_PARAMETER = 500
"""Characters; what every MLflow server takes."""
MOST_PARAMETERS = 100
"""In one call."""


class MLflowLog(TrackingLog):
    """Logs the numbers of training (``train/``) and of validation (``validation/``), and the
    configuration as parameters. Needs ``pip install 'vprtrain[mlflow]'``.

    ``[mlflow]`` is the client for a server. A database on this machine needs all of MLflow
    (``pip install mlflow``).

    Args:
        experiment: the experiment's name; it is made if it does not exist.
        tracking_uri: the address of the server; ``None`` for MLflow's own choice
            (``MLFLOW_TRACKING_URI``).
        name: of the run; ``None`` for the name of the run directory.

    Raises:
        UsageError: MLflow is not installed.
        RunError: from a hook, when MLflow does not take what is logged.
    """

    role = "the MLflow run"
    id_file = "mlflow_run_id"

    def __init__(
        self,
        *,
        experiment: str = "vprtrain",
        tracking_uri: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self._mlflow = import_extra("mlflow", "mlflow")
        self._experiment = experiment
        self._tracking_uri = tracking_uri
        self._name = name
        self._client: Any = None
        self._run_id = ""

    def begin(self, run: Run, known_id: str | None) -> str:
        assert run.run_dir is not None
        with self._errors():
            self._client = client = self._mlflow.MlflowClient(self._tracking_uri)
            if known_id is not None:
                client.update_run(known_id, status="RUNNING")
                self._run_id = known_id
                return known_id
            found = client.get_experiment_by_name(self._experiment)
            number = found.experiment_id if found else client.create_experiment(self._experiment)
            info = client.create_run(number, run_name=self._name or run.run_dir.name).info
            self._run_id = str(info.run_id)
            parameters = [
                self._mlflow.entities.Param(name, value[:LONGEST_PARAMETER])
                for name, value in _flat(fingerprints(run)["config"])
            ]
            for start in range(0, len(parameters), MOST_PARAMETERS):
                part = parameters[start : start + MOST_PARAMETERS]
                client.log_batch(self._run_id, params=part)
        return self._run_id

    def send(self, values: Mapping[str, float], step: int) -> None:
        now, metric = round(1000 * time.time()), self._mlflow.entities.Metric
        metrics = [metric(name, value, now, step) for name, value in values.items()]
        with self._errors():
            self._client.log_batch(self._run_id, metrics=metrics)

    def end(self, *, failed: bool) -> None:
        with self._errors():
            self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED")

    def _errors(self) -> AbstractContextManager[None]:
        return refusals("MLflow", self._mlflow.exceptions.MlflowException)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested mappings as texts, with dots in their names."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, str(value)
