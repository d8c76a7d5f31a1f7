"""What is watched is true, changes nothing, and says when a training goes wrong."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from ears import Ears
from micro import micro_clip, write_clips
from same_runs import assert_same_state, numbers

from echocli.api._pretrain import page as page_module
from echocli.api._pretrain import sight as sight_module
from echocli.api._pretrain import watch as watch_module
from echocli.api._pretrain.job import Job
from echocli.api._pretrain.sight import Sight
from echocli.api._pretrain.speed import memory_bytes, operations
from echocli.api._pretrain.trouble import DerailedError
from echocli.api._pretrain.watch import Trail
from echocli.api.pretrain import Choice, PretrainResult, pretrain
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_video
from echocli.console import SILENT
from echocli.device import choose_device
from echocli.errors import UsageError
from echocli.models.health import Health, health
from echocli.models.work import count_operations
from echocli.run import read_metrics
from echocli.states import load_state

GOOD = Health(feature_std=0.5, effective_rank=20.0, mean_cosine=0.5)
DEAD = Health(feature_std=0.001, effective_rank=18.0, mean_cosine=1.0)
EVERY_STEP = ("watch.health_every=1", "watch.checkpoint_every=2")


@pytest.fixture
def train(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> Callable[..., PretrainResult]:
    def train(*words: str, steps: int = 6, name: str = "r", **more: Any) -> PretrainResult:
        choice = Choice(method="vjepa", steps=steps, changes=(*micro_words, *words))
        more = {"device": "cpu", "precision": "fp32", **more}
        return pretrain(micro_clips, choice, out=tmp_path / name, **more)

    return train


@pytest.fixture
def job(micro_clips: Path, micro_words: tuple[str, ...]) -> Job:
    settings = Choice(method="vjepa", steps=5, changes=micro_words).resolve().value
    return Job(settings, ClipSet.open(micro_clips), choose_device("cpu", "fp32"))


def falls_ill(monkeypatch: pytest.MonkeyPatch, looks: list[Health]) -> None:
    """Let looks show this, one after another, and the last for ever."""
    coming = iter(looks)
    monkeypatch.setattr(watch_module, "health", lambda features: next(coming, looks[-1]))


def test_looks_are_logged_with_what_was_before_the_first_step(
    train: Callable[..., PretrainResult], job: Job
) -> None:
    ears = Ears()
    result = train(steps=7, reporter=ears)
    metrics = numbers(result.run)
    assert [r["step"] for r in metrics if "effective_rank" in r] == [2, 5, 6]
    before = health(Sight(job, lambda: job.batches.rows).features())
    assert metrics[0]["start_effective_rank"] == pytest.approx(before.effective_rank)
    assert all("start_effective_rank" not in record for record in metrics[1:])
    assert not any("collapsed" in warning for warning in ears.warned)
    assert any("moving target" in line and "run.html" in line for line in ears.said)
    wanted = r"[\d.e+]+ clips/s, matrix \d+%, wait \d+%, \d+\.\d GB"
    assert all(re.fullmatch(wanted, remark) for remark in ears.remarks)
    assert "of the matrix rate" in (result.run / "run.html").read_text()


def test_watching_changes_nothing_of_what_is_trained(
    train: Callable[..., PretrainResult],
) -> None:
    closely = train(*EVERY_STEP, name="closely")
    hardly = train("watch.health_every=1000", "watch.checkpoint_every=2", name="hardly")
    assert_same_state(closely.run, hardly.run)


def test_a_collapse_is_warned_of_once_and_training_goes_on(
    train: Callable[..., PretrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    falls_ill(monkeypatch, [GOOD, GOOD, DEAD])
    ears = Ears()
    result = train(*EVERY_STEP, reporter=ears)
    assert result.finished
    (warning,) = [line for line in ears.warned if "collapsed" in line]
    assert "all clips alike" in warning
    assert "optim.lr" in warning
    page = (result.run / "run.html").read_text()
    assert "The features have collapsed: all clips alike" in page
    assert "finished" in page


def test_a_collapse_stops_where_that_is_wished_and_good_states_stay(
    train: Callable[..., PretrainResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    falls_ill(monkeypatch, [GOOD, GOOD, GOOD, DEAD])
    with pytest.raises(DerailedError, match="all clips alike") as error:
        train(*EVERY_STEP, "watch.on_collapse=stop", steps=9)
    assert error.value.since == 2  # steps that were done at the last good look
    assert len(read_metrics(tmp_path / "r")) == 4  # two looks in a row were bad
    assert load_state(tmp_path / "r" / "checkpoints", until=2)[0]["step"] == 2
    page = (tmp_path / "r" / "run.html").read_text()
    assert "stopped after step 4" in page
    assert "refresh" not in page


def test_a_collapse_rolls_back_to_before_it_and_goes_on_more_gently(
    train: Callable[..., PretrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    falls_ill(monkeypatch, [GOOD, GOOD, GOOD, GOOD, DEAD, DEAD, GOOD])
    ears = Ears()
    result = train(*EVERY_STEP, "watch.on_collapse=rollback", steps=8, reporter=ears)
    assert result.finished
    assert any("Going back to step 2" in line for line in ears.warned)
    assert [r["step"] for r in numbers(result.run)] == list(range(8))
    assert load_state(result.run / "checkpoints")[0]["retry"] == 1


def test_rolling_back_needs_a_state_from_before_the_looks_that_tell(
    train: Callable[..., PretrainResult],
) -> None:
    with pytest.raises(UsageError, match="multiple of health_every"):
        train("watch.health_every=2", "watch.checkpoint_every=3", "watch.on_collapse=rollback")


def test_a_resumed_run_is_judged_by_all_of_its_looks(
    train: Callable[..., PretrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    falls_ill(monkeypatch, [GOOD, GOOD, DEAD])
    asked = iter([False, True])
    first = train(*EVERY_STEP, stop=lambda: next(asked))
    assert first.steps_done == 2
    ears = Ears()
    train(*EVERY_STEP, reporter=ears)
    assert any("fell from 0.5 to 0.001" in line for line in ears.warned)


def test_the_trail_is_the_same_live_and_read_again() -> None:
    records: list[dict[str, Any]] = [
        {"step": 0, "start_feature_std": 0.3, "start_effective_rank": 9.0, "target_std": 1.0},
        {"step": 1, "target_std": 2.0, "feature_std": 0.2, "effective_rank": 8.0},
        {"step": 2, "target_std": 5.0},
        {"step": 3, "target_std": None, "feature_std": None, "effective_rank": None},
    ]
    trail = Trail()
    for record in records:
        trail.add(record)
    assert trail.steps == [0, 2, 4]
    assert trail.looks == [
        {"feature_std": 0.3, "effective_rank": 9.0, "target_std": 1.0},
        {"feature_std": 0.2, "effective_rank": 8.0, "target_std": 1.5},
        {"target_std": 5.0},
    ]


@pytest.mark.parametrize("kept", [1e9, 0])
def test_a_sight_is_what_the_exported_encoder_says_of_the_middle_windows(
    job: Job, monkeypatch: pytest.MonkeyPatch, kept: float
) -> None:
    monkeypatch.setattr(sight_module, "MOST_KEPT", kept)
    sight = Sight(job, lambda: [7, 2, 5, 0])
    features = sight.features()
    for row, vector in zip(sight.rows, features, strict=True):
        window = torch.from_numpy(job.batches.window(row, 0.5))[None]
        tokens = job.method.export_encoder()(to_video(window, job.stage.data))
        torch.testing.assert_close(vector, tokens.mean(dim=1)[0], rtol=1e-4, atol=1e-5)
    assert sorted(sight.rows) == [0, 2, 5, 7]
    assert torch.equal(sight.features(), features)


def test_operations_are_those_of_a_step_and_memory_is_that_of_the_process(job: Job) -> None:
    shape = (3, 1, 4, 32, 32)
    counted = count_operations(job.method, shape, torch.Generator().manual_seed(0))
    assert operations(job) == counted > 0
    before = memory_bytes(job.device)
    # Of the system's, as what the process freed and kept would be no growth.
    with mmap.mmap(-1, 50_000_000) as held:
        for at in range(0, len(held), mmap.PAGESIZE):
            held[at] = 1
        grown = memory_bytes(job.device) - before
    assert 25_000_000 < grown < 100_000_000


def test_the_page_of_a_living_run_asks_to_be_read_again_and_names_nobody(
    train: Callable[..., PretrainResult],
    micro_clips: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pages = []

    def keep(path: Path, text: str) -> None:
        pages.append(text)
        path.write_text(text)

    monkeypatch.setattr(page_module, "write_text", keep)
    train(steps=5)
    assert len(pages) == 2  # at once, not again within LEAST_S, and at the end
    alive, last = pages
    assert 'http-equiv="refresh"' in alive
    assert 'http-equiv="refresh"' not in last
    manifest = ClipSet.open(micro_clips).manifest
    for page in pages:
        assert "moving target" in page
        assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)", page)
        assert str(tmp_path) not in page
        for column in ("clip_id", "patient_id", "study_id"):
            assert not any(f">{name}<" in page for name in manifest[column])


def test_a_run_that_ends_in_an_error_says_so_on_its_page(
    train: Callable[..., PretrainResult], tmp_path: Path
) -> None:
    def crash() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(stop=crash)
    assert "stopped after step 0" in (tmp_path / "r" / "run.html").read_text()


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_trackers_get_what_the_metrics_get(train: Callable[..., PretrainResult]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train("watch.trackers=['tensorboard']")
    events = EventAccumulator(str(result.run / "tensorboard"))
    events.Reload()
    metrics = read_metrics(result.run)
    names = {name for record in metrics for name in record} - {"step"}
    assert set(events.Tags()["scalars"]) == names
    for name in ("loss", "effective_rank"):
        told = {event.step: event.value for event in events.Scalars(name)}
        assert told == pytest.approx({r["step"]: r[name] for r in metrics if name in r})


def test_an_unknown_tracker_is_refused_before_anything_is_written(
    train: Callable[..., PretrainResult], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no tracker wandb"):
        train("watch.trackers=['wandb']")
    assert not (tmp_path / "r").exists()


def test_looks_come_often_at_first_and_after_the_last_step(job: Job, tmp_path: Path) -> None:
    watch = object.__new__(watch_module.Watch)
    watch.job = job
    settings = Choice(method="vjepa", steps=230).resolve().value
    job.settings = settings
    due = [done for done in range(1, 231) if watch.is_due(done)]
    assert due == [20, 40, 60, 80, 100, 200, 230]


def test_a_single_clip_has_no_health(tmp_path: Path, micro_words: tuple[str, ...]) -> None:
    clips = tmp_path / "clips"
    write_clips(clips, [micro_clip(0)])
    words = (*micro_words, "optim.batch=1", "watch.health_every=1")
    choice = Choice(method="vjepa", steps=2, changes=words)
    run = pretrain(clips, choice, out=tmp_path / "r", device="cpu", reporter=SILENT).run
    assert all("effective_rank" not in record for record in read_metrics(run))
