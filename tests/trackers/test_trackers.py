"""Figures come back from every tracker, read by the tracker's own package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from echocli.errors import MachineError, UsageError
from echocli.trackers import base

Curve = dict[int, float]
SETTINGS = {"method": "vjepa", "optim": {"lr": 0.001, "steps": 9}, "stages": []}


def read_tensorboard(folder: Path) -> dict[str, Curve]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def read_mlflow(folder: Path) -> dict[str, Curve]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow' / 'runs.db'}")
    experiment = client.get_experiment_by_name("echocli")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["optim.lr"] == "0.001"
    assert run.info.status == "FINISHED"
    return {
        name: {
            point.step: point.value
            for point in client.get_metric_history(run.info.run_id, name)
        }
        for name in run.data.metrics
    }


READERS: dict[str, Callable[[Path], dict[str, Curve]]] = {
    "tensorboard": read_tensorboard,
    "mlflow": read_mlflow,
}
QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
"""These packages use what others have given up, and leave closing to the collector."""


@pytest.fixture(params=base.available())
def name(request: pytest.FixtureRequest) -> str:
    try:
        base.load(request.param)
    except MachineError as error:
        pytest.skip(str(error))
    return str(request.param)


@QUIET
def test_figures_come_back_once_they_are_flushed_and_after_a_resume_too(
    tmp_path: Path, name: str
) -> None:
    module = base.load(name)
    tracker = module.open_tracker(tmp_path, "run", SETTINGS, 0)
    for step in range(5):
        tracker.log(step, {"loss": 1.0 / (step + 1), "lr": 0.5})
    tracker.flush()
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) > 0
    tracker.close()
    again = module.open_tracker(tmp_path, "run", SETTINGS, 3)
    for step in range(3, 6):
        again.log(step, {"loss": float(step)})
    again.close()
    found = READERS[name](tmp_path)
    assert found.keys() == {"loss", "lr"}
    assert found["loss"] == pytest.approx({0: 1, 1: 1 / 2, 2: 1 / 3, 3: 3, 4: 4, 5: 5})
    assert found["lr"][2] == 0.5
    assert {path.parts[len(tmp_path.parts)] for path in tmp_path.rglob("*")} == {name}


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert base.available()
    monkeypatch.setattr(base, "find_spec", lambda package: None)
    for name in base.available():
        with pytest.raises(MachineError, match=f"tracker {name} needs") as error:
            base.load(name)
        assert "pip install" in error.value.remedy


def test_an_unknown_tracker_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="no tracker wandb") as error:
        base.load("wandb")
    assert "tensorboard" in error.value.remedy


def test_every_tracker_has_what_the_protocol_asks_and_a_reader_here() -> None:
    assert set(READERS) == set(base.available())
    for name in base.available():
        if find_spec(name) is not None:
            assert isinstance(base.load(name), base.TrackerModule)


def test_knowing_the_trackers_imports_none_of_their_packages() -> None:
    code = (
        "import sys; from echocli.trackers.base import available, load\n"
        "for name in available():\n"
        "    try: load(name)\n"
        "    except Exception as error: assert 'needs' in str(error)\n"
        "sys.exit(any(name in sys.modules for name in ('mlflow', 'tensorboard', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
