"""Every reader of ours, fed with damaged files: it refuses, or reads what was written."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hard_study import write_sources
from micro import micro_clip, write_clips
from mutations import ANY_FILE
from numpy.random import Generator

from echocli.api._models.read import read_weights
from echocli.api._preprocess.clip import Task
from echocli.api._preprocess.labels import LabelTable
from echocli.api._preprocess.quarantine import read_quarantine
from echocli.api._pretrain.settings import resolve_settings
from echocli.api.verify import verify
from echocli.checkpoint import load_head, load_model, save_head
from echocli.clips.store import ClipSet
from echocli.errors import EchoError, ExitCode
from echocli.files import sums_of, write_json
from echocli.reports.study_reader import read_study
from echocli.run import Run, read_metrics
from echocli.states import load_state, save_state
from echocli.tables import IDS, Embeddings, examine, open_embeddings, write_embeddings

SECONDS = 10
"""What takes longer hangs."""
LARGEST = 4 << 30
"""Bytes of memory beyond which a reader is said to burst."""
CODES = (ExitCode.INPUT, ExitCode.USAGE)


@dataclass(frozen=True)
class Reader:
    """A file of ours and how it is read."""

    path: str
    """Below the folder that ``write_everything`` wrote."""
    read: Callable[[Path], object]
    """Gets the folder; returns what can be compared."""
    sealed: bool = False
    """Whether another value than what was written must never come out."""


def write_everything(root: Path) -> None:
    """Write one file of every kind."""
    write_sources(root)
    clips = [micro_clip(number) for number in range(6)]
    shutil.rmtree(root / "clips")
    written = write_clips(root / "clips", clips)
    checks = [{"check": "every id is a keyed hash", "looked_at": 6, "passed": True}]
    parts = [f"manifest/{path.name}" for path in sorted(root.glob("clips/manifest/*.json"))]
    content = {"schema": "echocli.audit/1", "checks": checks}
    write_json(root / "clips/audit.json", {**content, "sha256": sums_of(root / "clips", parts)})
    reason = "a1,3,still,a single image,Nothing to mend\n"
    head = "source_id,position,reason,explanation,remedy\n"
    (root / "clips/quarantine.csv").write_text(head + reason)
    vectors = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    names = ["clip_id", "patient_id", "study_id", "source_sha256", "ef_percent", "normal"]
    table = written.manifest[names]
    metadata = {"schema": "echocli.embeddings/1", "model_sha256": "0" * 64, "per": "clip"}
    for ending in ("parquet", "csv", "safetensors"):
        whole = Embeddings(table, vectors, metadata)
        write_embeddings(root / f"embeddings.{ending}", whole)
    (root / "runs/first/config.json").write_text(
        json.dumps({"schema": "echocli.run/1", "settings": {"method": "vjepa", "seed": 1}})
    )
    lines = [json.dumps({"step": step, "loss": 1.5}) for step in range(9)]
    (root / "runs/first/metrics.jsonl").write_text("\n".join(lines) + "\n")
    save_state(root / "states", {"step": 3, "method": {"w": torch.ones(50)}, "note": "x"})
    tensors = {"weight": torch.arange(40.0)}
    save_head(root / "head", tensors, {"task": "lvef", "model": "../runs/first/model"})
    (root / "settings.toml").write_text(
        'method = "vjepa"\nseed = 3\n\n[optim]\nlr = 1e-4\nsteps = 30\n\n[data]\nframes = 16\n'
    )
    (root / "labels.csv").write_text(
        "file,ef_percent,view,sex\na.dcm,55.5,A4C,F\nb.dcm,31,A2C,M\n"
    )


def _arrays(*arrays: Any) -> list[str]:
    return [hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest() for a in arrays]


def _clips(root: Path) -> object:
    clips = ClipSet.open(root / "clips")
    frames = [_arrays(clips.frames(row))[0] for row in range(len(clips))]
    return clips.manifest.to_csv(), frames


def _verified(root: Path) -> object:
    return [(o.kind, o.looked_at, o.whole) for o in verify(root / "clips").outputs]


def _model(root: Path) -> object:
    model = load_model(root / "runs/first")
    return model.data, model.method, _arrays(*model.encoder.state_dict().values())


def _head(root: Path) -> object:
    tensors, config = load_head(root / "head", "lvef")
    return config, _arrays(*tensors.values())


def _state(root: Path) -> object:
    state, _ = load_state(root / "states")
    return state["step"], state["note"], _arrays(*state["method"].values())


def _embeddings(ending: str) -> Callable[[Path], object]:
    def read(root: Path) -> object:
        stored = open_embeddings(root / f"embeddings.{ending}")
        # Labels in a CSV may be mended by hand; who a row is, and its vector, may not.
        table = stored.table[list(IDS)] if ending == "csv" else stored.table
        if examine(stored).whole is not True:
            raise EchoError("They are not as they were written.", "Make them again.")
        told = {} if ending == "csv" else stored.metadata
        return table.to_csv(), told, _arrays(*stored.batches())

    return read


def _labels(root: Path) -> object:
    tasks = [Task(n, Path(f"{name}.dcm")) for n, name in enumerate("ab", 1)]
    return str(LabelTable.read(root / "labels.csv", tasks, []))


def _weights(root: Path) -> object:
    tensors = read_weights(root / "weights.pth").tensors
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _study(root: Path) -> object:
    return read_study(root).unreadable


READERS = {
    "clip manifest": Reader("clips/manifest/part-00000.parquet", _clips, sealed=True),
    "hashes of clips": Reader("clips/manifest/part-00000.json", _verified),
    "audit": Reader("clips/audit.json", _verified),
    "quarantine": Reader(
        "clips/quarantine.csv", lambda root: read_quarantine(root / "clips/quarantine.csv")
    ),
    "model weights": Reader("runs/first/model/model.safetensors", _model, sealed=True),
    "model config": Reader("runs/first/model/config.json", _model, sealed=True),
    "model hashes": Reader("runs/first/model/SHA256SUMS.json", _model, sealed=True),
    "head weights": Reader("head/head.safetensors", _head, sealed=True),
    "head config": Reader("head/config.json", _head, sealed=True),
    "state": Reader("states/step-00000003.pt", _state, sealed=True),
    "note of a state": Reader("states/step-00000003.json", _state, sealed=True),
    "embeddings parquet": Reader("embeddings.parquet", _embeddings("parquet"), sealed=True),
    "embeddings csv": Reader("embeddings.csv", _embeddings("csv"), sealed=True),
    "embeddings safetensors": Reader(
        "embeddings.safetensors", _embeddings("safetensors"), sealed=True
    ),
    "settings": Reader(
        "settings.toml",
        lambda root: resolve_settings(file=root / "settings.toml", environment={}),
    ),
    "run config": Reader(
        "runs/first/config.json", lambda root: Run(root / "runs/first").read_config()
    ),
    "metrics": Reader(
        "runs/first/metrics.jsonl", lambda root: read_metrics(root / "runs/first")
    ),
    "labels": Reader("labels.csv", _labels),
    "public weights": Reader("weights.pth", _weights),
    "study, by its audit": Reader("clips/audit.json", _study),
    "study, by its manifest": Reader("clips/manifest/part-00000.parquet", _study),
    "study, by its refusals": Reader("clips/quarantine.csv", _study),
    "study, by its run": Reader("runs/first/config.json", _study),
    "study, by its metrics": Reader("runs/first/metrics.jsonl", _study),
}


def swap_words(content: bytes, draw: Generator) -> bytes | None:
    """Put a wild word in the place of a value in a text."""
    values = [*re.finditer(rb'"[^"\n]*"|[-+.\w]+', content)]
    if not values or b"\0" in content[:200]:
        return None
    found = values[int(draw.integers(len(values)))]
    wild = WILD_WORDS[int(draw.integers(len(WILD_WORDS)))]
    return content[: found.start()] + wild + content[found.end() :]


def nest(content: bytes, draw: Generator) -> bytes | None:
    """Nest a text so deeply that a parser that recurses dies."""
    return b"[" * 100_000 + content[int(draw.integers(len(content))) :]


WILD_WORDS = (
    *(b"null", b"NaN", b"-1", b"1e999", b"9" * 400, b'""', b'"../../../etc/passwd"', b"[]"),
    *(b"{}", b"true", b"0", b'"\\ud800"', b'"\\u0000"', b"\xff\xfe", b"18446744073709551616"),
    *(b'"/dev/zero"', b"[[[", b"-9223372036854775809", b"1.5"),
)
WAYS = {**ANY_FILE, "swap words": swap_words, "swap more": swap_words, "nest": nest}


@dataclass(frozen=True)
class Found:
    """What a reader made of a damaged file."""

    reader: str
    way: str
    seed: int
    outcome: str
    """refused, as before, other value; or CRASH, HANG, WRONG."""
    detail: str = ""


BAD = ("CRASH", "HANG", "WRONG")


def fuzz_readers(root: Path, names: list[str], cases: int, seed: int) -> Iterator[Found]:
    """Damage the file of each reader again and again, and read it.

    Args:
        root: What ``write_everything`` wrote; it is whole again in the end.
        names: Of readers.
        cases: Damaged files for each.
        seed: Start of all random numbers.
    """
    ways = sorted(WAYS)
    for place, name in enumerate(names):
        reader = READERS[name]
        path = root / reader.path
        whole = path.read_bytes()
        before = repr(reader.read(root))
        for number in range(cases):
            draw = np.random.default_rng([seed, place, number])
            way = ways[(number + place) % len(ways)]
            changed = WAYS[way](whole, draw)
            if changed is None or changed == whole:
                continue
            path.write_bytes(changed)
            outcome, detail = _outcome(reader, root, before)
            yield Found(name, way, number, outcome, detail)
        path.write_bytes(whole)


def _outcome(reader: Reader, root: Path, before: str) -> tuple[str, str]:
    try:
        with within(SECONDS):
            value = repr(reader.read(root))
    except EchoError as error:
        if error.code not in CODES:
            return "CRASH", f"code {error.code}"
        return "refused", ""
    except TimeoutError:
        return "HANG", ""
    except BaseException as error:
        line = error.__traceback__
        while line is not None and line.tb_next is not None:
            line = line.tb_next
        assert line is not None
        file = Path(line.tb_frame.f_code.co_filename).name
        return "CRASH", f"{type(error).__name__} at {file}:{line.tb_lineno}"
    if value == before:
        return "as before", ""
    return ("WRONG", value[:300]) if reader.sealed else ("other value", "")


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise TimeoutError where a block takes longer."""

    def ring(*_: object) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def counts_of(found: list[Found]) -> list[str]:
    """Return a line of a Markdown table for each reader."""
    outcomes = ("refused", "as before", "other value", *BAD)
    counts = Counter((f.reader, f.outcome) for f in found)
    lines = ["| reader | " + " | ".join(outcomes) + " |", "|--" * (len(outcomes) + 1) + "|"]
    for name in dict.fromkeys(f.reader for f in found):
        cells = " | ".join(str(counts[name, outcome]) for outcome in outcomes)
        lines.append(f"| {name} | {cells} |")
    return lines
