"""A small study, and every command that writes something, to be disturbed while it does."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from forked import NO_MOUNT, Ended, Forks
from made_weights import MADE
from micro import MICRO
from originals import originals

from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.writer import ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.errors import ExitCode
from echocli.models.vit import VisionTransformer, ViTConfig

CLIPS = 14
KEY = "3c" * 32
CPU = ("--device", "cpu", "--precision", "fp32")
FILES = ("native grey", "RLE", "JPEG-LS")
"""Files that ``preprocess`` reads."""
MEASURED = ("config.json", "metrics.jsonl", "run.html", "audit.json", "audit.html")
"""Files of runs and clip sets that tell how long something took, or when."""
UNEQUAL = {"state", "checkpoints"}
"""Folders whose files hold their own temporary names; exact resume has tests of its own."""


@dataclass(frozen=True)
class Writer:
    """A command that writes, without the place that ``-o`` names."""

    words: tuple[str, ...]
    out: str
    """What it writes: a file if the name has an ending."""
    option: str = "-o"
    """What names its place."""
    known: bool = True
    """Whether ``verify`` knows what it is; a report is a page, a list of files a table."""

    def typed(self, out: Path) -> list[str]:
        """Return the words with a place; {} in them stands for the folder around it."""
        words = (word.replace("{}", str(out.parent)) for word in self.words)
        return [*words, self.option, str(out)]


LOOK = ("inspect", "dicom", "--workers", "1")
TAKE = ("preprocess", "dicom", "--size", "32", "--workers", "1")
WRITERS = {
    "inspect": Writer(LOOK, "files.csv", known=False),
    "inspect linkage": Writer(LOOK, "who.csv", "--linkage", known=False),
    "preprocess": Writer(TAKE, "clips"),
    "preprocess linkage": Writer(
        (*TAKE, "-o", "{}/clips"), "who.csv", "--linkage", known=False
    ),
    "pretrain": Writer(
        (
            *("pretrain", "clips", "--method", "videomae", "--steps", "3", *CPU),
            *(part for word in MICRO for part in ("--set", word)),
        ),
        "run",
    ),
    "embed": Writer(("embed", "clips", *CPU), "e.parquet"),
    "embed safetensors": Writer(("embed", "clips", *CPU), "e.safetensors"),
    "embed csv": Writer(("embed", "clips", *CPU), "e.csv"),
    "score": Writer(
        (
            *("score", "embeddings.parquet", "--anomaly", "--device", "cpu", "--k", "2"),
            *("--normal-rule", "ef_percent>=30", "--false-positive-rate", "0.3"),
        ),
        "scores.csv",
    ),
    "score vote": Writer(
        (
            *("score", "embeddings.parquet", "--vote", "--device", "cpu", "--k", "2"),
            *("--normal-rule", "ef_percent>=50"),
        ),
        "votes.csv",
    ),
    "lvef fit": Writer(("lvef", "fit", "clips", *CPU), "lvef"),
    "lvef predict": Writer(("lvef", "clips", *CPU), "lvef.csv"),
    "segment fit": Writer(("segment", "fit", "clips", "--steps", "5", *CPU), "segment"),
    "segment predict": Writer(
        ("segment", "clips", "--overlays", "1", "--write", "nifti", *CPU), "masks"
    ),
    "classify fit": Writer(
        ("classify", "fit", "clips", "--label", "ef_percent<50", *CPU), "classify"
    ),
    "classify predict": Writer(("classify", "clips", *CPU), "classify.csv"),
    "robustness": Writer(
        ("robustness", "lvef", "clips", "--perturb", "shadow", "--strengths", "1", *CPU),
        "worse",
    ),
    "report": Writer(("report", "."), "report.html", known=False),
    "doctor bundle": Writer(("doctor",), "doctor.zip", "--bundle", known=False),
    "export": Writer(("export", "clips", "--format", "mkv"), "videos"),
    "export sheet": Writer(("export", "clips", "--sheet"), "sheets"),
    "models import": Writer(
        (
            *("models", "import", "weights.pth", "--heads", "3", "--size", "32"),
            *("--frames", "4"),
        ),
        "model",
    ),
}
"""By name; the folder they work in is that of ``write_study``."""
HEADS = ("lvef fit", "segment fit", "classify fit")


def write_model(root: Path, seconds: float = 0.5) -> None:
    """Write a random encoder, which sees so many seconds, as the newest run of a study."""
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=32, depth=1, heads=2)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    data = DataConfig(frames=4, size=32, seconds=seconds)
    save_model(root / "runs/first/model", encoder, data, "vjepa", {"clip_size": 32})
    (root / "runs/latest").write_text("first\n")


def write_sources(root: Path) -> None:
    """Write what a researcher brings: DICOM files, clips, a random encoder, public weights."""
    (root / "key").write_text(KEY)
    (root / "key").chmod(0o600)
    (root / "dicom").mkdir()
    for original in originals():
        if original.name in FILES:
            original.write(root / "dicom" / original.name)
    with ClipSetWriter(root / "clips") as writer:
        for clip in phantom_clips(PhantomConfig(size=32, difficulty="easy"), CLIPS, seed=1):
            writer.add(clip)
    write_model(root)
    tensors = {n.removeprefix("model."): t for n, t in MADE["discovr"]().tensors.items()}
    torch.save({"model": tensors, "epoch": 3}, root / "weights.pth")


def digests(path: Path) -> dict[str, str]:
    """Return the hash of every file of an output that is the same in every run, by its name."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    beside = path.with_suffix(".json")
    if path.suffix == ".csv" and beside.is_file():
        files.append(beside)
    return {
        file.relative_to(path).as_posix() if file != path and path.is_dir() else file.suffix: (
            "" if file.name in MEASURED or file.suffix == ".zip" else _digest(file, beside)
        )
        for file in files
        if not file.name.startswith(".") and not UNEQUAL & {*file.parts}
    }


LOADED = tuple(
    f"echocli.api.{name}"
    for name in (
        *("classify", "doctor", "embed", "export", "inspect", "lvef", "models", "preprocess"),
        *("report", "robustness", "score", "segment"),
    )
)


class HardStudy:
    """A study whose commands are disturbed.

    Args:
        run: Runs commands in children.
        root: An empty folder for all of it.
        heads: Which heads are fitted for the commands that predict.
    """

    def __init__(self, run: Forks, root: Path, heads: Sequence[str] = HEADS) -> None:
        self.run, self.root = run, root / "study"
        self.root.mkdir()
        write_sources(self.root)
        self.places = itertools.count()
        self.straight: dict[str, dict[str, str]] = {}
        self.command(WRITERS["embed"].words)
        for name in heads:
            self.command(WRITERS[name].words)

    def command(self, words: Sequence[str], **hooks: Any) -> Ended:
        """Run a command in the study."""
        return self.run(*words, work_in=str(self.root), **hooks)

    def place(self, name: str) -> Path:
        """Return where a command may write, in a new folder of its own."""
        folder = self.root.parent / f"place{next(self.places)}"
        folder.mkdir()
        return folder / WRITERS[name].out

    def undisturbed(self, name: str) -> dict[str, str]:
        """Return the hashes of what a command writes when nobody disturbs it."""
        if name not in self.straight:
            out = self.place(name)
            ended = self.command(WRITERS[name].typed(out))
            assert ended.code == 0, f"{name}: {ended}"
            self.straight[name] = digests(out)
        return self.straight[name]

    def changes(self, name: str) -> int:
        """Return how often a command changes the folder that it writes to."""
        out = self.place(name)
        note = self.root.parent / "changes"
        words = WRITERS[name].typed(out)
        ended = self.command(words, count_changes=[str(out.parent), str(note)])
        assert ended.code == 0, f"{name}: {ended}"
        return int(note.read_text())

    def after(self, name: str, out: Path) -> str:
        """Return what is wrong after a command was disturbed; nothing if all can be mended.

        ``verify`` must pass or tell, the same command must finish, and what stands there then
        must be what an undisturbed one writes.
        """
        told = self.command(["verify", str(out)])
        if told.code not in (ExitCode.DONE, ExitCode.INPUT):
            return f"verify ended with {told.code}: {told.errors}"
        done = digests(out) == self.undisturbed(name) if out.exists() else False
        again = self.command(WRITERS[name].typed(out))
        allowed = {ExitCode.DONE, ExitCode.USAGE} if done else {ExitCode.DONE}
        if again.code not in allowed:
            return f"the same command ended with {again.code}: {again.errors}"
        if digests(out) != self.undisturbed(name):
            return "the result is another"
        known = ExitCode.DONE if WRITERS[name].known else ExitCode.INPUT
        if (told := self.command(["verify", str(out)])).code != known:
            return f"in the end verify says: {told.errors}"
        return ""

    def killed(self, name: str, change: int) -> str:
        """Kill a command just before a change of its folder."""
        out = self.place(name)
        ended = self.command(WRITERS[name].typed(out), die_at_change=[str(out.parent), change])
        if ended.code not in (ExitCode.DONE, -signal.SIGKILL):
            return f"ended with {ended.code}: {ended.errors}"
        return self.after(name, out)

    def killed_in_file(self, name: str, size: int) -> str:
        """Kill a command when it writes a byte too many into a file."""
        out = self.place(name)
        ended = self.command(WRITERS[name].typed(out), die_at_size=size)
        if ended.code not in (ExitCode.DONE, -signal.SIGXFSZ, ExitCode.SPACE):
            return f"ended with {ended.code}: {ended.errors}"
        return self.after(name, out)

    def limited(self, name: str, size: int) -> str:
        """Let no file grow beyond a size."""
        out = self.place(name)
        ended = self.command(WRITERS[name].typed(out), limit_size=size)
        if ended.code not in (ExitCode.DONE, ExitCode.SPACE):
            return f"ended with {ended.code}: {ended.errors}"
        return self.after(name, out)

    def full(self, name: str) -> str:
        """Write to a file system of two pages, and go on where there is room."""
        disk, kept = self.place(name).parent, self.place(name).parent
        out = disk / WRITERS[name].out
        words = WRITERS[name].typed(out)
        ended = self.command(words, small_disk=["8k", str(disk), str(kept)])
        if ended.code == NO_MOUNT:
            return ""
        if ended.code not in (ExitCode.DONE, ExitCode.SPACE):
            return f"ended with {ended.code}: {ended.errors}"
        return self.after(name, kept / WRITERS[name].out)

    def locked_out(self, name: str) -> str:
        """Write to a folder that may not be written."""
        out = self.place(name)
        out.parent.chmod(0o555)
        ended = self.command(WRITERS[name].typed(out), obedient=None)
        out.parent.chmod(0o755)
        if ended.code not in (ExitCode.USAGE, ExitCode.MACHINE):
            return f"ended with {ended.code}: {ended.errors}"
        return self.after(name, out)

    def rivals(self, name: str) -> str:
        """Start a command twice at the same time."""
        out, note = self.place(name), self.root.parent / "rival"
        ended = self.command(WRITERS[name].typed(out), rival=str(note))
        codes = {ended.code, int(note.read_text())}
        if ExitCode.DONE not in codes or codes - {ExitCode.DONE, ExitCode.USAGE}:
            return f"ended with {sorted(codes)}: {ended.errors}"
        return self.after(name, out)

    def backwards(self, name: str) -> str:
        """Let the clock run backwards, and files come from the future."""
        out = self.place(name)
        for path in self.root.rglob("*"):
            os.utime(path, (4e9, 4e9))
        ended = self.command(WRITERS[name].typed(out), clock_back=None)
        if ended.code != ExitCode.DONE:
            return f"ended with {ended.code}: {ended.errors}"
        return self.after(name, out)

    def longest(self, name: str) -> str:
        """Write to a name of 255 bytes, one less where a ``.json`` stands beside a ``.csv``."""
        return self._named(name, lambda suffix: _long(255, suffix))

    def too_long(self, name: str) -> str:
        """Write to a name that no file system takes."""
        out = self.place(name)
        out = out.with_name(_long(300, out.suffix))
        ended = self.command(WRITERS[name].typed(out))
        if ended.code != ExitCode.USAGE:
            return f"ended with {ended.code}: {ended.errors}"
        return f"left {left}" if (left := os.listdir(out.parent)) else ""

    def strange(self, name: str) -> str:
        """Write to a name that is no text."""
        return self._named(name, lambda suffix: f"n\udcff\n{suffix}")

    def _named(self, name: str, called: Callable[[str], str]) -> str:
        out = self.place(name)
        out = out.with_name(called(out.suffix))
        ended = self.command(WRITERS[name].typed(out))
        if ended.code != ExitCode.DONE:
            return f"ended with {ended.code}: {ended.errors}"
        return self.after(name, out)


def _digest(file: Path, figures: Path) -> str:
    content = file.read_bytes()
    if file == figures:  # they tell the name of their table
        content = json.dumps({**json.loads(content), "sha256": ""}).encode()
    return hashlib.sha256(content).hexdigest()


def _long(length: int, suffix: str) -> str:
    """Return a name that is so long with the ending of what stands beside it."""
    return "n" * (length - len(".json" if suffix == ".csv" else suffix)) + suffix
