"""A run folder: settings, metrics, checkpoints, model; one writer at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from echocli.errors import EchoError, UsageError
from echocli.files import new_folder, read_json, write_json, write_text

SCHEMA = "echocli.run/1"
LATEST = "latest"


class Run:
    """A run folder that is being written. Use it in a ``with`` block, which holds its lock.

    Args:
        folder: The folder; it is made, or gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[Path] = []
        self._lock: IO[str] | None = None
        self._metrics: IO[str] | None = None

    @property
    def config(self) -> Path:
        """Settings, as JSON."""
        return self.folder / "config.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line and step."""
        return self.folder / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """States to go on from."""
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        """The exported model."""
        return self.folder / "model"

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.config.is_file()

    def __enter__(self) -> Self:
        self._made = [p for p in (self.folder, self.folder.parent) if not p.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder / ".lock")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in (self._metrics, self._lock):
            if file is not None:
                file.close()
        self._metrics = self._lock = None
        if not self.exists:
            self._vanish()

    def _vanish(self) -> None:
        """Leave nothing of a run that could not begin."""
        (self.folder / ".lock").unlink(missing_ok=True)
        for folder in self._made:
            if not any(folder.iterdir()):
                folder.rmdir()

    def begin(self, settings: Mapping[str, Any], details: Mapping[str, Any]) -> None:
        """Write the settings of a new run and make it the latest."""
        write_json(self.config, {"schema": SCHEMA, **details, "settings": dict(settings)})
        self.mark_latest()

    def mark_latest(self) -> None:
        """Let commands without ``--model`` find this run."""
        write_text(self.folder.parent / LATEST, f"{self.folder.name}\n")

    def read_config(self) -> dict[str, Any]:
        """Return what ``begin`` wrote.

        Raises:
            EchoError: If it cannot be read.
        """
        try:
            config = read_json(self.config)
        except (OSError, json.JSONDecodeError):
            raise EchoError(
                f"The settings of {self.folder} cannot be read.",
                "Start again with --overwrite.",
            ) from None
        assert isinstance(config, dict)
        return config

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to the metrics, so that it survives a crash of this process."""
        if self._metrics is None:
            self._metrics = self.metrics.open("a", encoding="utf-8")
        self._metrics.write(json.dumps(record, allow_nan=False) + "\n")
        self._metrics.flush()

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps that will be done again."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        kept = [line for line in self._lines() if json.loads(line)["step"] < step]
        write_text(self.metrics, "".join(f"{line}\n" for line in kept))

    def _lines(self) -> Iterator[str]:
        if not self.metrics.is_file():
            return
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            # A line that was cut off by a crash belongs to a step that will be done again.
            if line.endswith("}"):
                yield line


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics of a run, one record a step."""
    return [json.loads(line) for line in Run(folder)._lines()]


@contextmanager
def overwritten(folder: Path, *, overwrite: bool) -> Iterator[Run]:
    """Yield a run in a folder that is emptied first if ``overwrite`` is on.

    Raises:
        UsageError: If the folder holds something that is no run, or another process writes.
    """
    run = Run(folder)
    if folder.exists() and not run.exists:
        _refuse_foreign(folder)
    if overwrite and run.exists:
        with run:
            pass  # nobody else writes there
        new_folder(folder, overwrite=True)
    with run:
        yield run


def _refuse_foreign(folder: Path) -> None:
    names = {".lock", "metrics.jsonl", "checkpoints"}
    if folder.is_file() or any(path.name not in names for path in folder.iterdir()):
        raise UsageError(f"{folder} exists and is not a run.", "Choose another place with -o.")


def _lock(path: Path) -> IO[str]:
    """Lock a file for as long as it is open; the system frees it however the process ends."""
    file = path.open("a+", encoding="utf-8")
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        file.close()
        raise UsageError(
            f"Another process is writing to {path.parent}.",
            "Wait until it ends, or choose another place with -o.",
        ) from None
    return file
