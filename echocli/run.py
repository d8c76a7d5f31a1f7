"""A run folder: settings, metrics, checkpoints, model; one writer at a time."""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from echocli.errors import NO_SPACE, EchoError, UsageError, unwritable, writing
from echocli.files import read_json, sweep, write_json, write_text
from echocli.locks import NoLocksError, take

SCHEMA = "echocli.run/1"
LATEST = "latest"
LOCK = ".lock"


class Run:
    """A run folder that is being written. Use it in a ``with`` block, which holds its lock.

    Args:
        folder: The folder; it is made, or gone on with.
    """

    writes = True
    """Whether this process writes; of several that train together one does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[Path] = []
        self._lock: IO[str] | None = None
        self._metrics: io.FileIO | None = None
        self.last: Mapping[str, Any] = {}
        """The newest line of the metrics that this process wrote."""

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
    def best(self) -> Path:
        """The exported model of the state that a probe liked best, if one was asked."""
        return self.folder / "best"

    @property
    def exists(self) -> bool:
        """Whether a run was begun here.

        Raises:
            UsageError: If the system refuses to look, such as at too long a name.
        """
        with _usable(self.folder):
            return self.config.is_file()

    def __enter__(self) -> Self:
        with _usable(self.folder):
            self._made = [p for p in (self.folder, self.folder.parent) if not p.exists()]
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock = _lock(self.folder / LOCK)
            except OSError:
                if self.folder in self._made:
                    self._vanish()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._metrics is not None:
            self._metrics.close()
        if not self.exists:
            self._vanish()
        assert self._lock is not None
        self._lock.close()
        self._metrics = self._lock = None

    def _vanish(self) -> None:
        """Leave nothing of a run that could not begin."""
        (self.folder / LOCK).unlink(missing_ok=True)
        for folder in self._made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def clear(self) -> None:
        """Remove all that stands in the folder, keeping the lock."""
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()

    def begin(self, settings: Mapping[str, Any], details: Mapping[str, Any]) -> None:
        """Write the settings of a new run and make it the latest."""
        with writing("config.json", self.folder):
            write_json(self.config, {"schema": SCHEMA, **details, "settings": dict(settings)})
        self.mark_latest()

    def change(self, settings: Mapping[str, Any]) -> None:
        """Let the run go on with other settings."""
        with writing("config.json", self.folder):
            write_json(self.config, {**self.read_config(), "settings": dict(settings)})

    def mark_latest(self) -> None:
        """Let commands without ``--model`` find this run."""
        with writing(LATEST, self.folder.parent):
            write_text(self.folder.parent / LATEST, f"{self.folder.name}\n")

    def read_config(self) -> dict[str, Any]:
        """Return what ``begin`` wrote.

        Raises:
            EchoError: If it cannot be read.
        """
        try:
            config = read_json(self.config)
        except (OSError, ValueError):
            config = None
        if not isinstance(config, dict):
            raise EchoError(
                f"The settings of {self.folder} cannot be read.",
                "Start again with --overwrite.",
            )
        return config

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to the metrics, so that it survives a crash of this process.

        Raises:
            SpaceError: If there is no room for it.
        """
        line = f"{json.dumps(record, allow_nan=False)}\n".encode()
        with writing("metrics.jsonl", self.folder):
            if self._metrics is None:
                self._metrics = self.metrics.open("ab", buffering=0)
            if self._metrics.write(line) < len(line):  # the rest would not fit
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.last = record

    def sync(self) -> None:
        """Make what was logged survive a power cut.

        Raises:
            EchoError: If the folder was removed while the run went on.
        """
        self.check_there()
        if self._metrics is not None:
            os.fsync(self._metrics.fileno())

    def check_there(self) -> None:
        """Check that the folder is still the one that this process holds.

        Raises:
            EchoError: If it was removed or replaced.
        """
        assert self._lock is not None
        try:
            there = os.path.samestat(os.fstat(self._lock.fileno()), (self.folder / LOCK).stat())
        except OSError:
            there = False
        if not there:
            raise EchoError(
                f"{self.folder} was removed or replaced while the run was going on.",
                "Start again, in a folder that stays.",
            )

    def forget_after(self, step: int) -> int:
        """Drop the metrics of steps that will be done again.

        Args:
            step: Steps that are done.

        Returns:
            How many of these have no metrics: somebody else has cut the file.
        """
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        kept = {number: line for number, line in self._lines() if number < step}
        with writing("metrics.jsonl", self.folder):
            write_text(self.metrics, "".join(f"{kept[number]}\n" for number in sorted(kept)))
        return step - len(kept)

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Yield the step of each line that can be read, and the line."""
        if not self.metrics.is_file():
            return
        text = self.metrics.read_text(encoding="utf-8", errors="replace")
        # What a crash cut off belongs to a step that will be done again.
        for line in text.split("\n")[:-1]:
            try:
                yield int(json.loads(line)["step"]), line
            except (ValueError, TypeError, KeyError, RecursionError):
                continue


class Follower(Run):
    """A run folder that another process of this run writes and guards."""

    writes = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def clear(self) -> None:
        """Leave it to the writer; so with all that follows."""

    def begin(self, settings: Mapping[str, Any], details: Mapping[str, Any]) -> None:
        """See ``clear``."""

    def change(self, settings: Mapping[str, Any]) -> None:
        """See ``clear``."""

    def mark_latest(self) -> None:
        """See ``clear``."""

    def log(self, record: Mapping[str, Any]) -> None:
        """Remember the line: decisions may depend on it."""
        self.last = record

    def sync(self) -> None:
        """See ``clear``."""

    def check_there(self) -> None:
        """See ``clear``."""

    def forget_after(self, step: int) -> int:
        """See ``clear``."""
        return 0


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics of a run, one record a step."""
    return [json.loads(line) for _, line in Run(folder)._lines()]


@contextmanager
def overwritten(folder: Path, *, overwrite: bool, writes: bool = True) -> Iterator[Run]:
    """Yield a run in a folder that is emptied first if ``overwrite`` is on.

    Args:
        folder: Where.
        overwrite: Whether a run that stands there goes.
        writes: Whether this process is the one that writes.

    Raises:
        UsageError: If the folder holds something that is no run, or another process writes.
    """
    if not writes:
        yield Follower(folder)
        return
    run = Run(folder)
    begun = run.exists
    with _usable(folder):
        sweep(folder, (run.config.name, run.metrics.name))
        if folder.exists() and not begun:
            _refuse_foreign(folder)
    if overwrite and begun:
        with run:
            run.clear()
            yield run
        return
    with run:
        yield run


def _refuse_foreign(folder: Path) -> None:
    names = {LOCK, "metrics.jsonl", "checkpoints"}
    if folder.is_file() or any(path.name not in names for path in folder.iterdir()):
        raise UsageError(f"{folder} exists and is not a run.", "Choose another place with -o.")


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Tell why a folder cannot be used, if the system refuses in the block.

    Raises:
        OSError: If there is no room.
        UsageError: If it is read-only, its name too long, or a file stands in its way.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise unwritable(folder, error) from None


def _lock(path: Path) -> IO[str]:
    """Lock a file for as long as it is open, and say in it who does.

    Raises:
        UsageError: If another process has locked it.
    """
    try:
        descriptor = take(path)
    except NoLocksError:  # then nothing guards a run
        return path.open("a+", encoding="utf-8")
    if descriptor is None:
        holder = path.read_text(encoding="utf-8").strip() or "another process"
        raise UsageError(
            f"{path.parent} is being written to by {holder}.",
            "Wait until it ends, or choose another place with -o.",
        )
    file = os.fdopen(descriptor, "r+", encoding="utf-8")
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    return file
