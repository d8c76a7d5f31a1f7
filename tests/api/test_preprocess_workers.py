"""Whatever one file does to its worker costs that file alone, and leaves no process."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest

from echocli.api import _pool_start
from echocli.api._pool import choose_workers
from echocli.api._preprocess.clip import Outcome, Settings, Task
from echocli.api._preprocess.workers import Limits, outcomes
from echocli.datasets.base import DatasetItem
from echocli.errors import MachineError, PrivacyError, WorkerError
from echocli.intake.loop import CineLoop
from echocli.intake.reasons import Reason, Refused
from echocli.privacy.pseudonyms import Pseudonyms

SETTINGS = Settings(16, None, Pseudonyms(bytes(32)))
NAME = "Doe^Jane"
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc or its memory limit")


def read_well(path: Path) -> CineLoop:
    frames = np.random.default_rng(0).integers(40, 255, (8, 32, 32), dtype=np.uint8)
    return CineLoop(
        frames=frames,
        chroma=np.zeros((32, 32), np.uint8),
        times_s=np.arange(8) / 25,
        time_source="frame_time",
        spacing_mm=None,
        spacing_source="unknown",
        region=None,
        patient_key=path.name,
        study_key=str(os.getpid()),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        sector_known=np.ones((32, 32), bool),
    )


def refuse(path: Path) -> CineLoop:
    raise Refused(Reason.STILL)


def abort(path: Path) -> CineLoop:
    os.abort()


def leave(path: Path) -> CineLoop:
    os._exit(0)


def be_killed(path: Path) -> CineLoop:
    os.kill(os.getpid(), signal.SIGKILL)
    return read_well(path)


def hang(path: Path) -> CineLoop:
    """Never come back from C, with the interpreter's lock in hand."""
    ctypes.PyDLL(None).sleep(1000)
    return read_well(path)


def sleep_well(path: Path) -> CineLoop:
    time.sleep(0.3)
    return read_well(path)


def eat_memory(path: Path) -> CineLoop:
    return np.ones(10 << 30, np.uint8)  # type: ignore[return-value]


def eat_memory_by_morsels(path: Path) -> CineLoop:
    return [bytearray(1 << 20) for _ in range(10 << 10)]  # type: ignore[return-value]


def raise_memory_error(path: Path) -> CineLoop:
    raise MemoryError(NAME)


def nest(path: Path) -> CineLoop:
    return nest(path)


def chatter(path: Path) -> CineLoop:
    sys.stdout.write(NAME)
    sys.stderr.write(NAME)
    for descriptor in (1, 2):  # as a library written in C does
        os.write(descriptor, NAME.encode())
    return read_well(path)


def have_a_bug(path: Path) -> CineLoop:
    raise KeyError(f"{NAME} in {path}")


def find_disk_full(path: Path) -> CineLoop:
    raise OSError(errno.ENOSPC, "no space", NAME)


def object_to_privacy(path: Path) -> CineLoop:
    raise PrivacyError("A copy failed its check.", "Report it.")


Reader = Callable[[Path], CineLoop]


@pytest.fixture
def tasks(tmp_path: Path) -> Callable[..., list[Task]]:
    def make(*readers: Reader) -> list[Task]:
        made = []
        for position, reader in enumerate(readers, start=1):
            path = tmp_path / f"{NAME}{position}"
            path.write_text(f"source {position}")
            made.append(
                Task(position, path, DatasetItem(path=path, reader=reader, row=position))
            )
        return made

    return make


MakeTasks = Callable[..., list[Task]]


def words(found: list[Outcome]) -> list[str]:
    return [str(outcome.refused.reason) if outcome.refused else "clip" for outcome in found]


@pytest.mark.parametrize(
    ("reader", "word"),
    [
        (refuse, "still"),
        (abort, "undecodable"),
        (leave, "undecodable"),
        (be_killed, "out_of_memory"),
        (hang, "too_slow"),
        pytest.param(eat_memory, "out_of_memory", marks=linux),
        pytest.param(eat_memory_by_morsels, "out_of_memory", marks=linux),
        (raise_memory_error, "out_of_memory"),
        (nest, "unreadable"),
        (chatter, "clip"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_file_costs_itself_alone(
    tasks: MakeTasks,
    reader: Reader,
    word: str,
    workers: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    todo = tasks(read_well, reader, read_well, reader, read_well)
    limits = Limits(2.0 if reader is hang else 30.0, memory_bytes=1 << 29)
    found = list(outcomes(todo, SETTINGS, workers, limits))
    assert [outcome.task.position for outcome in found] == [1, 2, 3, 4, 5]
    assert words(found) == ["clip", word, "clip", word, "clip"]
    # The hash is known even of what killed its worker.
    assert [outcome.sha256 for outcome in found] == [
        hashlib.sha256(task.path.read_bytes()).hexdigest() for task in todo
    ]
    assert capfd.readouterr() == ("", "")


def test_the_results_do_not_depend_on_the_workers_and_come_in_order(tasks: MakeTasks) -> None:
    readers = [sleep_well, *[read_well] * 20, refuse, read_well]
    one = list(outcomes(tasks(*readers), SETTINGS, 1))
    three = list(outcomes(tasks(*readers), SETTINGS, 3))
    assert [outcome.sha256 for outcome in one] == [outcome.sha256 for outcome in three]
    assert words(one) == words(three)
    for single, shared in zip(one, three, strict=True):
        if single.clip and shared.clip:
            assert np.array_equal(single.clip.frames, shared.clip.frames)
    assert len({outcome.study_key for outcome in three if outcome.clip}) == 3
    assert str(os.getpid()) not in {outcome.study_key for outcome in one}


def test_inputs_are_taken_as_there_is_room(tasks: MakeTasks) -> None:
    taken = []

    def one_by_one() -> Iterator[Task]:
        for task in tasks(*[read_well] * 40):
            taken.append(task.position)
            yield task

    given = 0
    for outcome in outcomes(one_by_one(), SETTINGS, 2):
        given = outcome.task.position
        assert len(taken) - given <= 8
    assert given == 40


@pytest.mark.parametrize(
    ("reader", "kind"), [(find_disk_full, OSError), (object_to_privacy, PrivacyError)]
)
def test_what_ends_the_run_ends_it_as_it_would_in_one_process(
    tasks: MakeTasks, reader: Reader, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        list(outcomes(tasks(read_well, reader), SETTINGS, 1))
    assert NAME not in str(caught.value)
    if isinstance(caught.value, OSError):
        assert caught.value.errno == errno.ENOSPC


def test_a_bug_is_told_as_one_quotes_nothing_and_costs_one_file(tasks: MakeTasks) -> None:
    found = list(outcomes(tasks(read_well, have_a_bug, read_well), SETTINGS, 1))
    assert words(found) == ["clip", "bug", "clip"]
    told = found[1].refused
    assert told is not None
    assert re.fullmatch(r"a bug in echocli: KeyError at \w+\.py:\d+", told.detail)


def test_a_bug_ends_the_run_when_it_is_looked_for(
    tasks: MakeTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHOCLI_DEBUG", "1")
    with pytest.raises(WorkerError, match=r"KeyError at \w+\.py:\d+, .* file 2") as caught:
        list(outcomes(tasks(read_well, have_a_bug), SETTINGS, 1))
    assert "have_a_bug" in caught.value.stack
    assert "Doe" not in str(caught.value) + caught.value.stack
    assert caught.value.__cause__ is caught.value.__context__ is None


def die_at_birth(*_: object) -> None:
    os._exit(3)


def test_a_worker_that_cannot_start_is_no_fault_of_a_file(
    tasks: MakeTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool_start, "serve", die_at_birth)
    with pytest.raises(MachineError, match="could not start"):
        list(outcomes(tasks(read_well), SETTINGS, 1))


def test_workers_start_without_a_fork_server(
    tasks: MakeTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_place_for_a_socket(*_: object) -> None:
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(forkserver, "ensure_running", no_place_for_a_socket)
    monkeypatch.setattr(forkserver, "connect_to_new_process", no_place_for_a_socket)
    assert words(list(outcomes(tasks(read_well, abort, refuse), SETTINGS, 1))) == [
        "clip",
        "undecodable",
        "still",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no masks of signals")
def test_ctrl_c_while_a_worker_starts_passes_it_by() -> None:
    asks = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with _pool_start._unheard():
        born = subprocess.check_output([sys.executable, "-c", asks], text=True)
    assert born == "True\n"
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_slow_reader_of_results_costs_no_file(tasks: MakeTasks) -> None:
    found = []
    for outcome in outcomes(tasks(*[sleep_well] * 2), SETTINGS, 2, Limits(seconds=2.0)):
        time.sleep(2.2)
        found.append(outcome)
    assert words(found) == ["clip"] * 2


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone_within(pids: list[int], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


@linux
def test_closing_ends_hanging_workers_at_once(tasks: MakeTasks) -> None:
    running = outcomes(tasks(read_well, hang, hang), SETTINGS, 2)
    first = next(running)
    started = time.monotonic()
    running.close()
    assert time.monotonic() - started < 1
    assert gone_within([int(first.study_key)], 1)


SCRIPT = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by those begun with &
sys.path.insert(0, {tests!r})
import test_preprocess_workers as here
from echocli.api._preprocess.workers import Limits, outcomes
from echocli.api._preprocess.clip import Task
from echocli.datasets.base import DatasetItem
path = Path({path!r})
items = [DatasetItem(path=path, reader=reader, row=1) for reader in {readers}]
todo = [Task(n, path, item) for n, item in enumerate(items, start=1)]
running = outcomes(todo, here.SETTINGS, 2, Limits(seconds=1))
print(next(running).study_key, next(running).study_key, flush=True)
{then}
"""


def start_script(tmp_path: Path, readers: str, then: str) -> subprocess.Popen[str]:
    """Run in a process of its own, without the usual guard of ``__main__``."""
    (tmp_path / "source").write_text("source")
    values = {"tests": str(Path(__file__).parent), "path": str(tmp_path / "source")}
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(readers=readers, then=then, **values))
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)


def children_of(pid: int) -> list[int]:
    """Return all descendants of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                child = int(stat.parent.name)
                found += [child, *children_of(child)]
    return found


@linux
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, None])
def test_nothing_outlives_the_parent(tmp_path: Path, sent: signal.Signals | None) -> None:
    """Neither idle workers nor those that never come back: the kernel's alarm ends them."""
    readers = "[here.read_well, here.read_well, here.hang, here.hang]"
    then = "import time; next(running)" if sent else "next(running).nothing"
    with start_script(tmp_path, readers, then) as script:
        assert script.stdout is not None
        workers = [int(word) for word in script.stdout.readline().split()]
        assert all(alive(pid) for pid in workers)
        family = children_of(script.pid)
        assert set(workers) <= set(family)
        if sent:
            script.send_signal(sent)
        script.wait(10)
        assert script.returncode != 0
        assert gone_within(family, 6)


def test_a_few_files_take_a_few_workers() -> None:
    assert choose_workers(None, 1) == 1
    assert choose_workers(16, 3) == 3
    assert 1 <= choose_workers(None, 10_000) <= 16
    assert choose_workers(1, 0) == 1
