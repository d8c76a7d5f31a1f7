"""``preprocess`` as a user meets it: hostile folders, kills, full disks, rivals."""

from __future__ import annotations

import csv
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzzing import BAD, fuzz_in_temporary_folder
from originals import EXPLICIT, dataset, grey_frames, originals, saved
from pydicom import Dataset
from pydicom.sequence import Sequence

from echocli.api.verify import verify
from echocli.clips.store import ClipSet
from echocli.errors import ExitCode

FILES = {original.name: original for original in originals()}
SECONDS = 120
KEY = "3c" * 32
FULL_AT = 60_000
"""Bytes after which a simulated disk takes no more of a file: less than the shard needs."""


class User:
    """Types commands, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "key").write_text(KEY)
        (folder / "key").chmod(0o600)

    def start(
        self, *words: str | Path, before: Callable[[], None] | None = None
    ) -> subprocess.Popen[str]:
        environment = os.environ | {"ECHOCLI_KEY_FILE": str(self.folder / "key")}
        return subprocess.Popen(
            [sys.executable, "-m", "echocli", "preprocess", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | {"OMP_NUM_THREADS": "1"},
            preexec_fn=before,
        )

    def run(
        self, *words: str | Path, before: Callable[[], None] | None = None
    ) -> tuple[int, str]:
        process = self.start(*words, before=before)
        _, told = process.communicate(timeout=SECONDS)
        return process.returncode, told


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen loops, each other than the rest."""
    folder = tmp_path_factory.mktemp("loops")
    frames = grey_frames()
    for number in range(12):
        turned = np.roll(frames, number % 12, axis=0)
        turned[0, 0, 0] = number
        (folder / f"loop{number}.dcm").write_bytes(saved(dataset(turned)))
    return folder


def nested(depth: int) -> bytes:
    """A loop whose header holds sequences within sequences."""
    inner = Dataset()
    inner.PatientID = "X"
    for _ in range(depth):
        outer = Dataset()
        outer.RequestAttributesSequence = Sequence([inner])
        inner = outer
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        data = dataset(grey_frames(), EXPLICIT)
        data.RequestAttributesSequence = Sequence([inner])
        return saved(data)
    finally:
        sys.setrecursionlimit(before)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder such as one that grew for twenty years, or was made to hurt."""
    folder = tmp_path_factory.mktemp("hostile") / "Doe_Jane"
    folder.mkdir()
    whole = FILES["native grey"].content
    jpeg = FILES["JPEG colour"].content
    (folder / "00000.dcm").write_bytes(whole)
    (folder / "a clip.dcm" / "sub.dcm").mkdir(parents=True)
    (folder / "a clip.dcm" / "sub.dcm" / "IM0001").write_bytes(jpeg)
    (folder / "twin.dcm").write_bytes(whole)
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "text.dcm").write_text("not DICOM at all")
    (folder / "cut.dcm").write_bytes(jpeg[: len(jpeg) // 3])
    (folder / "deep.dcm").write_bytes(nested(300))
    (folder / "claims.dcm").write_bytes(whole.replace(b"IS\x02\x0012", b"IS\x06\x00100000"))
    (folder / "packed.dcm").write_bytes(b"PK\x03\x04" + whole)
    (folder / "DICOMDIR").write_bytes(whole)
    (folder / ("n" * 251 + ".dcm")).write_bytes(FILES["RLE"].content)
    (folder / "two\nlines.dcm").write_bytes(FILES["JPEG-LS"].content)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.dcm")).write_bytes(
        FILES["deflated"].content
    )
    (folder / "loop.dcm").symlink_to(folder / "loop.dcm")
    (folder / "up").symlink_to(folder)
    os.mkfifo(folder / "pipe.dcm")
    return folder


EXPECTED = {
    "00000.dcm": "",
    "IM0001": "",
    "twin.dcm": "duplicate",
    "empty.dcm": "empty",
    "text.dcm": "not_an_image",
    "cut.dcm": "truncated",
    "deep.dcm": None,  # either is right
    "claims.dcm": "out_of_memory",
    "packed.dcm": "archive",
    "n" * 251 + ".dcm": "",
    "two\nlines.dcm": "",
    os.fsdecode(b"\xff\xfe.dcm"): "",
    "pipe.dcm": "unreadable",
}
"""The reason of each source, empty for a clip; links and DICOMDIR are passed over."""


def test_a_hostile_folder_gives_a_clip_or_a_reason_for_each_file(
    user: User, hostile: Path
) -> None:
    out, who = user.folder / "clips", user.folder / "who.csv"
    started = time.monotonic()
    code, told = user.run(hostile, "-o", out, "--linkage", who)
    assert code == ExitCode.PARTIAL, told
    assert time.monotonic() - started < 30
    with who.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        found = {Path(row["source"]).name: row for row in csv.DictReader(file)}
    assert set(found) == set(EXPECTED)
    for name, reason in EXPECTED.items():
        assert bool(found[name]["clip_id"]) != bool(found[name]["reason"]), name
        if reason is not None:
            assert found[name]["reason"] == reason, name
    assert "Doe" not in told
    assert verify(out).whole


def until(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is there, or the process has ended."""
    limit = time.monotonic() + SECONDS
    while not there() and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.005)


def writing(out: Path) -> Callable[[], bool]:
    """Tell whether the frames of a part are being written."""
    return lambda: any(path.stat().st_size for path in out.rglob("*.u8*") if path.is_file())


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_whatever_ends_a_run_the_same_command_goes_on(
    user: User, loops: Path, sent: signal.Signals
) -> None:
    out = user.folder / "clips"
    process = user.start(loops, "-o", out, "--workers", "2")
    until(writing(out), process)
    process.send_signal(sent)
    _, told = process.communicate(timeout=SECONDS)
    codes = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
    assert process.returncode == codes[sent], told
    if ClipSet.is_one(out):
        assert ClipSet.open(out).verify() == []
    assert user.run(loops, "-o", out)[0] == ExitCode.DONE
    assert verify(out).whole
    assert len(ClipSet.open(out)) == 12


def test_two_processes_on_one_output_do_not_mix(user: User, loops: Path) -> None:
    out = user.folder / "clips"
    rivals = [user.start(loops, "-o", out) for _ in range(2)]
    told = [rival.communicate(timeout=SECONDS)[1] for rival in rivals]
    codes = sorted(rival.returncode for rival in rivals)
    # The second is refused, or came so late that all was done.
    assert codes in ([0, ExitCode.USAGE], [0, 0]), told
    assert verify(out).whole
    assert len(ClipSet.open(out)) == 12


def fill_up() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_AT, FULL_AT))


def test_a_full_disk_is_told_and_costs_nothing(user: User, loops: Path) -> None:
    out = user.folder / "clips"
    code, told = user.run(loops, "-o", out, before=fill_up)
    assert code == ExitCode.SPACE, told
    assert "fix:" in told
    if ClipSet.is_one(out):
        assert ClipSet.open(out).verify() == []
    assert user.run(loops, "-o", out)[0] == ExitCode.DONE
    assert verify(out).whole


def test_an_output_among_the_sources_is_no_source(user: User, loops: Path) -> None:
    archive = user.folder / "archive"
    archive.mkdir()
    for name in ("loop1.dcm", "loop2.dcm"):
        (archive / name).write_bytes((loops / name).read_bytes())
    for _ in range(2):
        assert user.run(archive, "-o", archive / "clips")[0] == ExitCode.DONE
    assert len(ClipSet.open(archive / "clips")) == 2
    assert verify(archive / "clips").whole
    # The other way round, the output would swallow the sources: it is refused, and they stay.
    before = sorted(path.name for path in archive.iterdir())
    code, told = user.run(archive, "-o", archive)
    assert code == ExitCode.USAGE, told
    assert sorted(path.name for path in archive.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write and read everything")
def test_what_may_not_be_read_or_written_is_told(user: User, loops: Path) -> None:
    locked = user.folder / "locked"
    locked.mkdir()
    (locked / "x.dcm").write_bytes((loops / "loop1.dcm").read_bytes())
    (locked / "x.dcm").chmod(0)
    assert user.run(locked, "-o", user.folder / "clips")[0] == ExitCode.INPUT
    locked.chmod(0o555)
    code, told = user.run(loops, "-o", locked / "clips")
    locked.chmod(0o755)
    assert code == ExitCode.USAGE, told


def test_damaged_files_never_become_other_pixels() -> None:
    """A small share of what ``benchmarks/fuzz_intake.py`` does with thousands."""
    names = ("native grey", "16 bit", "RLE", "JPEG fragments", "JPEG-LS", "H.264", "AVI", "GIF")
    chosen = [FILES[name] for name in names if name in FILES]
    verdicts = fuzz_in_temporary_folder(chosen, 60, seed=5)
    failed = [(v.case.position, v.outcome, v.detail) for v in verdicts if v.outcome in BAD]
    assert failed == []
    assert len({verdict.outcome for verdict in verdicts}) >= 3
