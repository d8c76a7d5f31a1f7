"""Windows reach the device whole and in order, whoever reads and wherever the clips lie."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ears import Ears
from micro import micro_clip, write_clips
from numpy.typing import NDArray

from echocli.api._pretrain import clock as clock_module
from echocli.api._pretrain import feed as feed_module
from echocli.api._pretrain.clock import Clock
from echocli.api._pretrain.feed import Fed, Feed, Kept, Stored
from echocli.api._pretrain.job import Job
from echocli.api._pretrain.lane import Arrival, Lane
from echocli.api._pretrain.settings import resolve_settings
from echocli.api._sector import sectors_of
from echocli.api.pretrain import Choice, pretrain
from echocli.clips.batches import Batches
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.device import choose_device
from echocli.errors import EchoError

CPU = torch.device("cpu")
DATA = DataConfig(frames=4, size=32, seconds=0.5)


@pytest.fixture
def batches(micro_clips: Path) -> Batches:
    return Batches(ClipSet.open(micro_clips), DATA, batch=4, seed=3)


def copied(fed: Iterator[Fed]) -> list[torch.Tensor]:
    """Return the windows of all steps; a slot is filled again while the next ones come."""
    return [batch.pixels.clone() for batch in fed]


@pytest.mark.parametrize("readers", [0, 1, 3])
@pytest.mark.parametrize("first", [0, 5])
def test_any_readers_from_any_step_bring_the_same(
    batches: Batches, readers: int, first: int
) -> None:
    feed = Feed(batches, CPU, readers, sectors=True)
    for step, fed in enumerate(feed.stream(first, 12), start=first):
        wanted = batches.read(step)
        np.testing.assert_array_equal(fed.pixels.numpy(), wanted.pixels)
        assert fed.sectors is not None
        assert torch.equal(fed.sectors, sectors_of(batches.clips, wanted.rows, DATA))
    assert step == 11


@pytest.mark.parametrize("readers", [0, 2])
def test_kept_clips_give_the_same_windows(batches: Batches, readers: int) -> None:
    feed = Feed(batches, CPU, readers)
    kept = copied(feed._serve(Kept(batches, CPU), 2, 11))
    stored = copied(feed._serve(Stored(batches), 2, 11))
    assert len(kept) == 9
    assert all(torch.equal(a, b) for a, b in zip(kept, stored, strict=True))


def test_processes_share_the_windows_of_a_step(batches: Batches) -> None:
    parts = [Feed(batches, CPU, 1, sectors=True, rank=rank, ranks=2) for rank in (0, 1)]
    streams = zip(*(part.stream(0, 5) for part in parts), strict=True)
    for step, (one, other) in enumerate(streams):
        wanted = batches.read(step)
        both = torch.cat([one.pixels, other.pixels]).numpy()
        np.testing.assert_array_equal(both, wanted.pixels)
        for fed in (one, other):
            assert fed.sectors is not None
            assert len(fed.sectors) == 4, "of all processes"


class Copies:
    """A side stream that copies as late as it may: when somebody waits for it.

    Memory that is filled again too early would arrive with what came later.
    """

    def __init__(self) -> None:
        self.queue: list[LateArrival] = []

    def send(self, slot: torch.Tensor) -> Arrival:
        self.queue.append(LateArrival(self, slot))
        return self.queue[-1]

    def run_until(self, arrival: LateArrival) -> None:
        while arrival.there is None:
            first = self.queue.pop(0)
            first.there = first.slot.clone()


class LateArrival:
    """What such a stream brings."""

    def __init__(self, copies: Copies, slot: torch.Tensor) -> None:
        self.copies, self.slot = copies, slot
        self.there: torch.Tensor | None = None

    def wait_until_left(self) -> None:
        self.copies.run_until(self)

    def take(self) -> torch.Tensor:
        self.copies.run_until(self)
        assert self.there is not None
        return self.there


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_slot_is_filled_again_only_when_it_has_left(slots: int) -> None:
    def fill(number: int, out: NDArray[np.uint8]) -> None:
        out[:] = number

    lane = Lane((2,), torch.uint8, slots, CPU, Copies().send)
    sent = [lane.carry(number, partial(fill, number)) for number in range(9)]
    assert [arrival.take().tolist() for arrival in sent] == [[n, n] for n in range(9)]


@pytest.mark.parametrize(
    ("free", "steps", "kept"),
    [(10**9, 1000, True), (1000, 1000, False), (10**9, 1, False)],
    ids=["they fit", "no room", "not worth it"],
)
def test_clips_are_kept_where_they_fit_and_are_seen_again(
    batches: Batches, monkeypatch: pytest.MonkeyPatch, free: int, steps: int, kept: bool
) -> None:
    monkeypatch.setattr(feed_module, "free_memory", lambda device: free)
    assert Feed(batches, torch.device("cuda"), 2)._keeps(steps) == kept
    assert batches.nbytes == 10 * 24 * 32 * 32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of NVIDIA's")
@pytest.mark.parametrize("readers", [0, 3])
@pytest.mark.parametrize("free", [10**9, 0], ids=["kept", "streamed"])
def test_a_gpu_is_sent_the_same(
    batches: Batches, monkeypatch: pytest.MonkeyPatch, readers: int, free: int
) -> None:
    monkeypatch.setattr(feed_module, "free_memory", lambda device: free)
    feed = Feed(batches, torch.device("cuda:0"), readers)
    for step, pixels in enumerate(copied(feed.stream(0, 60))):
        assert torch.equal(pixels.cpu(), torch.from_numpy(batches.read(step).pixels))


def job_of(clips: Path, words: tuple[str, ...], readers: int) -> Job:
    settings = resolve_settings(
        method="videomae", changes=(*words, "optim.steps=4", "seed=5")
    ).value
    return Job(settings, ClipSet.open(clips), choose_device("cpu", "fp32"), readers)


def test_a_training_does_not_depend_on_its_readers(
    micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    losses = [
        [record.loss for record in job_of(micro_clips, micro_words, readers).steps(0, Clock())]
        for readers in (0, 1, 3)
    ]
    assert len(losses[0]) == 4
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize("readers", [0, 2])
def test_an_error_of_a_reader_reaches_who_trains(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...], readers: int
) -> None:
    job = job_of(micro_clips, micro_words, readers)
    job.clips.folder = tmp_path  # its shards are not there
    with pytest.raises(EchoError, match="lacks its file shard"):
        next(job.steps(0, Clock()))


class Time:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def batches(self, *waits: float) -> Iterator[int]:
        for number, wait in enumerate(waits):
            self.now += wait
            yield number


def test_the_share_of_waiting_is_that_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_face = Time(monkeypatch)
    clock = Clock()
    for _ in clock.waiting(clock_face.batches(3.0, 0.0, 1.0), CPU):
        clock_face.now += 2.0
    seconds, share = clock.lap()
    assert (seconds, share) == (10.0, 0.4)
    clock_face.now += 1.0
    assert clock.lap() == (1.0, 0.0)


def test_a_gpu_waits_only_when_its_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU has 2 s of work queued whenever the next clips, 3 s away, are asked for."""
    clock_face = Time(monkeypatch)
    gpu: dict[str, float] = {"busy_until": 0.0}

    class Event:
        def __init__(self) -> None:
            self.at = gpu["busy_until"] = max(gpu["busy_until"], clock_face.now)

        def synchronize(self) -> None:
            clock_face.now = max(clock_face.now, self.at)

        def elapsed_time(self, other: Any) -> float:
            return float(1e3 * (other.at - self.at))

    monkeypatch.setattr(clock_module, "_mark", lambda device: Event())
    clock = Clock()
    for _ in clock.waiting(clock_face.batches(3.0, 3.0, 3.0), torch.device("cuda")):
        gpu["busy_until"] += 2.0  # the host is off at once
    clock_face.now = gpu["busy_until"]  # numbers are read
    seconds, share = clock.lap()
    assert seconds == 11.0
    assert share * seconds == pytest.approx(3.0 + 1.0 + 1.0)


@pytest.mark.parametrize(
    ("short", "word"), [("cycle", "go round in whole heart beats"), ("resample", "slower")]
)
def test_a_run_says_what_it_does_with_short_loops(
    tmp_path: Path, micro_words: tuple[str, ...], short: str, word: str
) -> None:
    waves = {"r_waves_s": (0.1, 1.1)}
    clips = [*(micro_clip(n, **waves) for n in range(3)), micro_clip(3, frames=4)]
    write_clips(tmp_path / "clips", clips)
    words = (*micro_words, "data.seconds=2.0", f"feed.short={short}", "watch.health_every=1")
    ears, choice = Ears(), Choice(method="videomae", steps=2, changes=words)
    result = pretrain(
        tmp_path / "clips", choice, out=tmp_path / "r", device="cpu", readers=0, reporter=ears
    )
    assert (result.finished, result.clips) == (True, 3)
    assert any("3 short clip(s)" in warning and word in warning for warning in ears.warned)
    assert any("1 shorter than a window" in warning for warning in ears.warned)
    assert any("0 thread(s) read 0.1 MB of clips" in line for line in ears.said)


def test_a_run_from_before_there_was_a_feed_goes_on(
    tmp_path: Path, micro_clips: Path, micro_run: Path
) -> None:
    shutil.copytree(micro_run, tmp_path / "r")
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["settings"].pop("feed") == {"short": "leave_out"}
    (tmp_path / "r" / "config.json").write_text(json.dumps(config))
    again = pretrain(
        micro_clips, out=tmp_path / "r", resume=True, device="cpu", precision="fp32"
    )
    assert (again.steps_done, again.loss) == (3, None)
