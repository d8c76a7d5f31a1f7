"""Trainings in processes of their own that may die: forked from one that has PyTorch loaded.

Run as a script it is that process. It reads one task a line (JSON) and answers with how the
child that did it ended.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import faults
from faults import AT_END

NO_MOUNT = 77
"""Exit code of a child that may not mount a file system of its own."""


class Ended(NamedTuple):
    """How a child ended."""

    code: int
    """Exit code, or the negative number of the signal."""
    errors: str
    """What it wrote on standard error."""


class Forks:
    """A process that runs the command line in children.

    Args:
        process: Of this script.
        folder: Where children leave what they say.
    """

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder

    def __call__(self, *words: object, signalled: Any = None, **hooks: Any) -> Ended:
        """Run ``echocli`` in a child.

        Args:
            words: After the program's name.
            signalled: Metrics file, number of lines, and signal to send when it has them.
            hooks: Functions of this script to call before, with their argument.
        """
        task = {
            "words": [str(word) for word in words],
            "errors": str(self.folder / "errors.txt"),
            "signalled": signalled,
            "hooks": hooks,
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{json.dumps(task)}\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        said = (self.folder / "errors.txt").read_text("utf-8", "surrogateescape")
        return Ended(code, said)


@contextmanager
def forks(folder: Path, *loaded: str) -> Iterator[Forks]:
    """Start the process, and end it with the block.

    Args:
        folder: Where children leave what they say.
        loaded: Modules that children need beside those of a training.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "500"}
    environment.pop("PYTHONWARNINGS", None)
    with subprocess.Popen(
        [sys.executable, __file__, *loaded],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield Forks(process, folder)
        assert process.stdin
        process.stdin.close()


# What follows runs in children.


def die_after(steps: int) -> None:
    """Kill the process when a step is done and nothing is written of it yet."""
    from echocli.commands import _signals

    calls = iter(range(1, steps))

    def ask(wish: Any) -> bool:
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    _signals.StopWish.__call__ = ask  # type: ignore[method-assign]


def die_in_save(number: int) -> None:
    """Kill the process when a state has its name but not yet its hash."""
    from echocli import states

    calls, original = iter(range(1, number)), states.write_json

    def write(path: Path, content: Any) -> None:
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        original(path, content)

    states.write_json = write  # type: ignore[attr-defined]


def note_input(path: str) -> None:
    """Append the hash of what the network sees to a file, one line a step."""
    from echocli.api._pretrain import job

    original = job.train

    def train(method: Any, batches: Any, *args: Any, start: int, **more: Any) -> Any:
        def noted() -> Iterator[Any]:
            for step, batch in enumerate(batches, start):
                video = getattr(batch, "video", batch)
                digest = hashlib.sha256(video.numpy().tobytes()).hexdigest()
                with open(path, "a") as file:
                    file.write(f"{step} {digest}\n")
                yield batch

        return original(method, noted(), *args, start=start, **more)

    job.train = train  # type: ignore[attr-defined]


def readers(count: int) -> None:
    """Read clips with so many threads."""
    from echocli.api import pretrain

    pretrain.usual_readers = lambda: count


def limit_size(count: int) -> None:
    """Let no file grow beyond so many bytes; what is said is no file."""
    import resource

    faults.speak_freely()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))


def small_disk(options: list[str]) -> None:
    """Work on a file system of some megabytes, which is full after some metrics are written.

    Args:
        options: Its size, where it is mounted, where it is copied in the end.
    """
    size, place, kept = options
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    new_namespaces = 0x10000000 | 0x00020000  # of users and of mounts
    if libc.unshare(new_namespaces):
        os._exit(NO_MOUNT)
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError:
        os._exit(NO_MOUNT)
    if libc.mount(b"none", place.encode(), b"tmpfs", 0, f"size={size}".encode()):
        os._exit(NO_MOUNT)
    from echocli.run import Run

    original = Run.log

    def log(run: Run, record: Any) -> None:
        original(run, record)
        if record["step"] == 12:
            with Path(place, "others").open("wb", buffering=0) as file:
                while True:
                    try:
                        file.write(bytes(4096))
                    except OSError:
                        return

    Run.log = log  # type: ignore[method-assign]
    AT_END.append(lambda: shutil.copytree(place, kept, dirs_exist_ok=True))


def obedient(_: Any) -> None:
    """Let permissions of folders count even for root."""
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    granted = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, granted) == 0
    granted[0] &= ~0b110  # effective: neither write nor read what is forbidden
    assert libc.capset(header, granted) == 0


def remove_at(options: list[Any]) -> None:
    """Remove a folder after a step."""
    folder, step = options
    from echocli.run import Run

    original = Run.log

    def log(run: Run, record: Any) -> None:
        original(run, record)
        if record["step"] == step:
            while os.path.exists(folder):  # a state may be written at the same time
                shutil.rmtree(folder, ignore_errors=True)

    Run.log = log  # type: ignore[method-assign]


def child(task: dict[str, Any]) -> None:
    from echocli import main

    words, hooks = task["words"], task["hooks"]
    sink = os.open(task["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(sink, 2)
    os.dup2(sink, 1)
    for name, argument in hooks.items():
        {**vars(faults), **globals()}[name](argument)
    code = 0
    try:
        main.run(words)
    except SystemExit as end:
        code = int(end.code or 0)
    for work in AT_END:
        work()
    sys.stderr.flush()
    os._exit(code)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def serve(tasks: IO[str]) -> None:
    # What every child needs; the optimiser loads the compiler.
    usual = ("echocli.main", "echocli.api.pretrain", "rich.progress", "torch._dynamo")
    for name in (*usual, *sys.argv[1:]):
        importlib.import_module(name)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may be under nohup
    for line in tasks:
        task = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(task)
        if task["signalled"]:
            path, count, number = task["signalled"]
            while lines(Path(path)) < count:
                time.sleep(0.02)
            os.kill(pid, number)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve(sys.stdin)
