"""Whatever ends a run, it goes on as if nothing had been, or says why it cannot."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import NO_MOUNT, Forks, forks
from made_models import SMALLER
from same_runs import assert_same_state, numbers

from echocli.checkpoint import load_model
from echocli.run import read_metrics
from echocli.states import load_state, saved_states

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

STEPS = 30
STAGES = "stages=[{begins=0.4, frames=8, size=48, batch=2}]"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forks(tmp_path_factory.mktemp("forks")) as process:
        yield process


@pytest.fixture
def words(micro_clips: Path, micro_words: tuple[str, ...]) -> list[str]:
    """Everything but method, place and length."""
    options = [str(micro_clips), "--device", "cpu", "--precision", "fp32", "--quiet"]
    changes = (*micro_words, "watch.checkpoint_every=4")
    return ["pretrain", *options, *[part for word in changes for part in ("--set", word)]]


def chosen(method: str) -> list[str]:
    changes = [f"{method}.{name}={value}" for name, value in SMALLER.get(method, {}).items()]
    changes += [STAGES] if method == "vjepa" else []
    return ["--method", method, *[part for word in changes for part in ("--set", word)]]


def inputs(path: Path) -> dict[str, str]:
    """Return the hash of what the network saw, by step, checking that a repeat saw the same."""
    seen: dict[str, str] = {}
    for line in path.read_text().splitlines():
        step, digest = line.split()
        assert seen.setdefault(step, digest) == digest, f"step {step} saw other clips"
    return seen


@pytest.mark.parametrize(
    ("method", "before", "after"), [("discovr", 0, 2), ("vjepa", 2, 0), ("videomae", 2, 2)]
)
def test_thirty_steps_equal_eleven_a_kill_and_the_rest_bit_for_bit(
    tmp_path: Path, run: Forks, words: list[str], method: str, before: int, after: int
) -> None:
    words = [*words, *chosen(method), "--steps", str(STEPS), "-o"]
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    saw = [str(tmp_path / name) for name in ("saw", "saw again")]
    assert run(*words, straight, note_input=saw[0]).code == 0
    killed = run(*words, broken, note_input=saw[1], die_after=11, readers=before)
    assert killed.code == -signal.SIGKILL
    assert load_state(broken / "checkpoints")[0]["step"] in (4, 8)
    killed = run(*words, broken, note_input=saw[1], die_in_save=2, readers=after)
    assert killed.code == -signal.SIGKILL
    ended = run(*words, broken, note_input=saw[1], readers=after)
    assert ended.code == 0, ended.errors
    assert numbers(broken) == numbers(straight)
    assert [record["step"] for record in numbers(broken)] == list(range(STEPS))
    assert inputs(Path(saw[0])) == inputs(Path(saw[1]))
    assert_same_state(straight, broken)
    assert load_model(straight).sha256 == load_model(broken).sha256


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP", "SIGINT"])
def test_a_signal_saves_and_says_how_to_go_on(
    tmp_path: Path, run: Forks, words: list[str], name: str
) -> None:
    folder = tmp_path / "run"
    words = [*words, "--method", "vjepa", "--steps", "100000", "-o", str(folder)]
    signalled = [str(folder / "metrics.jsonl"), 3, int(signal.Signals[name])]
    ended = run(*words, "--set", "watch.checkpoint_every=100000", signalled=signalled)
    assert ended.code == (130 if name == "SIGINT" else 143), ended.errors
    assert f"--resume -o {folder}" in ended.errors
    done = load_state(folder / "checkpoints")[0]["step"]
    assert done == len(read_metrics(folder)) >= 3
    assert load_model(folder).details["steps_done"] == done


def test_a_full_disk_ends_in_6_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, run: Forks, words: list[str]
) -> None:
    words = [*words, *chosen("vjepa"), "--steps", str(STEPS), "-o"]
    disk, kept, straight = tmp_path / "disk", tmp_path / "kept", tmp_path / "straight"
    disk.mkdir()
    ended = run(*words, disk / "run", small_disk=["5m", str(disk), str(kept)])
    if ended.code == NO_MOUNT:
        pytest.skip("no file system may be mounted here")
    assert ended.code == 6, ended.errors
    assert "did not fit" in ended.errors
    assert load_state(kept / "run" / "checkpoints")[0]["step"] == 12
    shutil.rmtree(disk)
    kept.rename(disk)
    assert run(*words, disk / "run").code == 0
    assert run(*words, straight).code == 0
    assert numbers(disk / "run") == numbers(straight)
    assert_same_state(disk / "run", straight)


def test_a_limit_of_size_ends_in_6_before_anything_is_lost(
    tmp_path: Path, run: Forks, words: list[str]
) -> None:
    words = [*words, "--method", "videomae", "--steps", "6", "-o", str(tmp_path / "run")]
    ended = run(*words, limit_size=100_000)
    assert ended.code == 6, ended.errors
    assert "did not fit" in ended.errors
    assert run(*words).code == 0
    assert [record["step"] for record in numbers(tmp_path / "run")] == list(range(6))
    assert load_state(tmp_path / "run" / "checkpoints")[0]["step"] == 6


def test_a_folder_that_cannot_be_written_is_told_at_once(
    tmp_path: Path, run: Forks, words: list[str]
) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    (tmp_path / "file").touch()
    places = [tmp_path / "locked" / "run", tmp_path / "file" / "run", tmp_path / ("n" * 256)]
    for place in places:
        ended = run(*words, "--steps", "2", "-o", place, obedient=None)
        assert ended.code == 2, ended.errors
        assert "cannot be written to" in ended.errors
        assert "-o" in ended.errors
    longest = tmp_path / ("n" * 255)
    assert run(*words, "--steps", "2", "-o", longest).code == 0
    assert len(saved_states(longest / "checkpoints")) == 2


def test_a_folder_that_is_removed_meanwhile_is_told(
    tmp_path: Path, run: Forks, words: list[str]
) -> None:
    folder = tmp_path / "run"
    ended = run(*words, "--steps", "9", "-o", folder, remove_at=[str(folder), 5])
    assert ended.code == 3, ended.errors
    assert "was removed or replaced" in ended.errors
    assert not (folder / "run.html").exists()  # telling of it brings nothing back
