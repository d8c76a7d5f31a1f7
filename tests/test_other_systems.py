"""What only POSIX systems or Linux have is asked for before it is used, and never at import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import echocli
from echocli.intake.extent import read_at

PACKAGE = Path(echocli.__file__).parent
MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty")
"""Modules that Windows lacks."""
NAMES = {
    "os": (
        *("O_DIRECTORY", "O_NOFOLLOW", "chown", "fchmod", "fork", "geteuid", "getloadavg"),
        *("getpgid", "getuid", "killpg", "mkfifo", "posix_fadvise", "pread", "preadv"),
        *("sched_getaffinity", "setsid", "statvfs", "sysconf", "uname", "wait4", "waitpid"),
    ),
    "signal": (
        *("ITIMER_REAL", "SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1"),
        *("SIGUSR2", "SIGXFSZ", "alarm", "pthread_sigmask", "setitimer", "siginterrupt"),
    ),
    "time": ("tzset",),
}
"""Names that Windows or macOS lack, by their module."""
ASKING = ("hasattr(", "os.name", "sys.platform", "getattr(")
"""How code asks what there is, in the function that uses it."""
LINUX = {"slurm.py": "Slurm runs on Linux alone"}

IMPORT = """
import builtins, importlib, os, pkgutil, signal, sys, time

def modules():
    import echocli
    for found in pkgutil.walk_packages(echocli.__path__, "echocli."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)

modules()  # what others need is loaded now
ours = [name for name in sys.modules if name.split(".")[0] == "echocli"]
for name in ours:
    del sys.modules[name]
for name in {modules!r}:
    sys.modules[name] = None
for module, names in {names!r}.items():
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
modules()
assert len([name for name in sys.modules if name.startswith("echocli.")]) > 250
"""


def test_every_module_is_imported_where_there_is_no_posix() -> None:
    code = IMPORT.replace("{modules!r}", repr(MODULES)).replace("{names!r}", repr(NAMES))
    done = subprocess.run(
        [sys.executable, "-Wignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def unguarded(tree: ast.Module, source: str) -> list[int]:
    """Return the lines that use what not every system has, in functions that do not ask."""
    found: list[int] = []
    inside = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            needs = node.attr in NAMES.get(node.value.id, ())
        elif isinstance(node, ast.Import):
            needs = any(name.name in MODULES for name in node.names)
        else:
            needs = False
        if needs:
            around = [f for f in inside if f.lineno <= node.lineno <= (f.end_lineno or 0)]
            texts = [ast.get_source_segment(source, f) or "" for f in around]
            if not any(word in text for text in texts for word in ASKING):
                found.append(node.lineno)
    return found


def test_what_one_system_has_is_asked_for() -> None:
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE / "models").rglob("*.py")]
    missed = {
        str(path.relative_to(PACKAGE)): lines
        for path in files
        if path.name not in LINUX
        for source in [path.read_text(encoding="utf-8")]
        if (lines := unguarded(ast.parse(source), source))
    }
    assert missed == {}


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("import fcntl", [1]),
        ("def f():\n    os.fork()", [2]),
        ("def f():\n    if os.name == 'posix':\n        os.fork()", []),
        ("def f():\n    return os.getpid()", []),
    ],
)
def test_the_search_finds_what_it_looks_for(code: str, lines: list[int]) -> None:
    assert unguarded(ast.parse(code), code) == lines


@pytest.mark.parametrize("encoding", ["cp1252:strict", "utf-8:strict", "ascii:strict"])
def test_names_of_any_bytes_and_letters_reach_any_standard_output(encoding: str) -> None:
    """Windows pipes take one code page, and some Unix terminals no odd bytes."""
    say = "main.let_everything_out(); Console().result('n\\udcff \\u2212\\u5fc3')"
    done = subprocess.run(
        [sys.executable, "-c", f"from echocli import main; from echocli.main import *; {say}"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"n\xff " + "\u2212\u5fc3\n".encode()


def test_bytes_are_read_from_a_place_without_pread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    with (tmp_path / "file").open("rb", buffering=0) as file:
        file.seek(7)
        monkeypatch.delattr(os, "pread")
        assert read_at(file.fileno(), 3, 50) == bytes([50, 51, 52])
        assert read_at(file.fileno(), 9, 98) == bytes([98, 99])
        assert file.read(1) == bytes([7])
