"""MLflow: a database in the run's folder, ``mlflow/runs.db``."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echocli.config import leaves

NEEDS = ("mlflow", "sqlalchemy", "alembic")
INSTALL = "pip install mlflow-skinny sqlalchemy alembic"
FILE = Path("mlflow", "runs.db")
EXPERIMENT = "echocli"
MOST = 1000
"""Figures that MLflow takes at once."""
LONGEST = 500
"""Letters that it takes of the value of a setting."""


class Database:
    """One run in a database; see it with ``mlflow ui --backend-store-uri sqlite:///FILE``.

    Args:
        client: An ``MlflowClient``.
        run: The id of the run in the database.
    """

    def __init__(self, client: Any, run: str) -> None:  # noqa: ANN401
        self._client = client
        self._run = run
        self._waiting: list[Any] = []

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the figures of a step."""
        from mlflow.entities import Metric

        now_ms = round(time.time() * 1000)
        self._waiting += [Metric(name, value, now_ms, step) for name, value in numbers.items()]

    def flush(self) -> None:
        """Write what was taken."""
        for first in range(0, len(self._waiting), MOST):
            self._client.log_batch(self._run, metrics=self._waiting[first : first + MOST])
        self._waiting.clear()

    def close(self) -> None:
        """Write everything and let go."""
        self.flush()
        self._client.set_terminated(self._run)


def open_tracker(folder: Path, name: str, settings: Mapping[str, Any], start: int) -> Database:
    """Begin a run in a database of its own, or go on with it.

    MLflow forgets nothing: steps that are done again stand there twice.
    """
    # Read when MLflow is imported; without it, MLflow tells its makers what it is used for.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{path.resolve()}")
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is not None:
        run = client.search_runs([known.experiment_id])[0].info.run_id
        client.update_run(run, status="RUNNING")
        return Database(client, run)
    run = client.create_run(client.create_experiment(EXPERIMENT), run_name=name).info.run_id
    for key, value in leaves(settings, None):
        client.log_param(run, key, str(value)[:LONGEST])
    return Database(client, run)
