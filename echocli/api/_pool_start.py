"""Starts worker processes that are warm, quick, and free of the caller's script."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import TYPE_CHECKING

from echocli.api._pool_worker import serve
from echocli.errors import MachineError

if TYPE_CHECKING:  # Windows has no fork server
    from multiprocessing.context import ForkServerContext, SpawnContext

WARM = ("echocli.api._pool_worker", "echocli.api._preprocess.clip")
"""What a worker finds imported already: it starts in milliseconds."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cannot_start() -> MachineError:
    """Return what is told when no worker comes to life."""
    return MachineError(
        "A worker process could not start.",
        "Give it more memory with --memory-limit, and run `echocli doctor`.",
    )


def start_worker(arguments: tuple[object, ...]) -> BaseProcess:
    """Return a new worker process.

    A fork of this process could deadlock if it runs threads, and would take the caller's memory
    along; the fork server runs none and lives as long as this process. Where there is none
    (Windows), or no place for its socket, each worker starts from nothing.

    Raises:
        MachineError: If the system does not let a process start.
    """
    for context in _contexts():
        with suppress(OSError, EOFError), _plain_start(), _unheard():
            process = context.Process(target=serve, args=arguments, daemon=True)
            process.start()
            return process
    raise cannot_start()


@contextmanager
def _unheard() -> Iterator[None]:
    """Let Ctrl-C pass by whoever is born meanwhile; this process hears of it.

    Workers ignore it once they run; while they import, it would end them with a traceback.
    """
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # unblocks what is blocked when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _contexts() -> Iterator[ForkServerContext | SpawnContext]:
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(WARM))
        yield context
    yield multiprocessing.get_context("spawn")


@contextmanager
def _plain_start() -> Iterator[None]:
    """Start a process that does not run the caller's script again, and keeps to one thread.

    ``multiprocessing`` imports ``__main__`` anew in each process: a script without the usual
    guard would call us once more, and a test runner takes longer to import than a file to read.
    """
    main, names = sys.modules["__main__"], [name for name in THREADS if name not in os.environ]
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name in names:
            del os.environ[name]
