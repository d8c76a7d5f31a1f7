"""A state survives a crash at any moment, a full disk, and damage to the newest one."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from echocli import files as files_module
from echocli import states as states_module
from echocli.errors import EchoError, ExitCode
from echocli.files import sha256_of, write_json
from echocli.states import (
    OLD_NAMES,
    OLD_SUMS,
    best_state,
    has_state,
    load_state,
    save_state,
    saved_states,
    snapshot,
    sweep,
)


def state(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "weights": torch.full((1000,), float(step)), **more}


def steps(folder: Path) -> list[int]:
    return [saved.step for saved in saved_states(folder)]


def test_the_newest_state_is_read_and_two_stay(tmp_path: Path) -> None:
    for step in range(9, 13):  # names of a fixed length or not, 9 is older than 10
        save_state(tmp_path, state(step))
    loaded, damaged = load_state(tmp_path)
    assert (loaded["step"], damaged) == (12, [])
    assert (loaded["weights"] == 12).all()
    assert steps(tmp_path) == [12, 11]
    assert len(list(tmp_path.iterdir())) == 4


def test_the_clock_decides_nothing(tmp_path: Path) -> None:
    for step in range(3):
        save_state(tmp_path, state(step))
        for path in tmp_path.iterdir():
            os.utime(path, (1e9 - step, 1e9 - step))
    assert load_state(tmp_path)[0]["step"] == 2


def test_the_best_stays_beside_the_newest(tmp_path: Path) -> None:
    scores = [0.5, 0.9, None, 0.7, 0.9, None, 0.8, None]
    for step, score in enumerate(scores):
        save_state(tmp_path, state(step), score)
    best = best_state(tmp_path)
    assert best is not None
    assert (best.step, best.score) == (4, 0.9)  # of equals the newest
    assert steps(tmp_path) == [7, 6, 4]


def test_a_state_after_going_back_is_newer_than_those_of_more_steps(tmp_path: Path) -> None:
    save_state(tmp_path, state(20))
    save_state(tmp_path, state(40))
    assert load_state(tmp_path, until=39)[0]["step"] == 20
    save_state(tmp_path, state(20, retry=1))
    loaded, _ = load_state(tmp_path)
    assert (loaded["step"], loaded["retry"]) == (20, 1)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "note", "no note"])
def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    for step in range(3):
        save_state(tmp_path, state(step))
    path = saved_states(tmp_path)[0].path
    content = bytearray(path.read_bytes())
    content[1500] ^= damage == "flip"
    path.write_bytes(bytes(content[: 100 if damage == "cut" else None]))
    if damage == "remove":
        path.unlink()
    if damage == "note":
        path.with_suffix(".json").write_text('{"schema": "echocli.state/1", "step"')
    if damage == "no note":
        path.with_suffix(".json").unlink()
    loaded, damaged = load_state(tmp_path)
    assert loaded["step"] == 1
    assert [saved.step for saved in damaged] == ([] if "note" in damage else [2])


def test_no_state_at_all_is_told(tmp_path: Path) -> None:
    assert not has_state(tmp_path)
    with pytest.raises(EchoError, match="no whole checkpoint"):
        load_state(tmp_path)


def test_states_of_older_versions_are_read_and_leave_in_their_time(tmp_path: Path) -> None:
    for name, step in zip(OLD_NAMES, (8, 6), strict=True):
        torch.save(state(step), tmp_path / name)
    write_json(tmp_path / OLD_SUMS, {"sha256": [sha256_of(tmp_path / n) for n in OLD_NAMES]})
    sweep(tmp_path)
    assert load_state(tmp_path)[0]["step"] == 8
    (tmp_path / OLD_NAMES[0]).write_bytes(b"rubbish")
    loaded, damaged = load_state(tmp_path)
    assert (loaded["step"], damaged[0].path.name) == (6, OLD_NAMES[0])
    for step in (8, 10):
        save_state(tmp_path, state(step))
    assert load_state(tmp_path)[0]["step"] == 10
    names = [path.name for path in tmp_path.iterdir()]
    assert not {*names} & {*OLD_NAMES, OLD_SUMS}


def test_a_copy_is_of_its_own_and_shares_what_was_shared() -> None:
    weights = torch.arange(4.0)
    moments = ({"a": weights}, [torch.ones(2), "word", None, 3])
    original = {"one": weights, "same": weights, "view": weights[1:], "moments": moments}
    copy = snapshot(original)
    weights.add_(1)
    assert copy["one"].tolist() == [0, 1, 2, 3]
    assert copy["view"].tolist() == [1, 2, 3]
    assert copy["one"] is copy["same"] is copy["moments"][0]["a"]
    assert copy["moments"][1][1:] == ["word", None, 3]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_never_takes_the_place_of_a_good_state(
    tmp_path: Path, value: float
) -> None:
    save_state(tmp_path, state(1))
    broken = state(2, method={"head.weight": torch.tensor([1.0, value])})
    with pytest.raises(EchoError, match=r"method.head.weight .* after step 2"):
        save_state(tmp_path, broken)
    assert steps(tmp_path) == [1]


class Fault:
    """Lets one call fail, counted over several functions, as a system does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, number: int) -> None:
        self.calls, self.at, self.number = 0, at, number
        places = [(states_module.torch, "save"), (Path, "write_text"), (Path, "unlink")]
        places += [(files_module.os, "fsync"), (files_module.os, "replace")]
        for place, name in places:
            monkeypatch.setattr(place, name, self.around(getattr(place, name)))

    def around(self, original: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                raise OSError(self.number, os.strerror(self.number))
            return original(*args, **more)

        return call


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, ExitCode.SPACE),
        (errno.EDQUOT, ExitCode.SPACE),
        (errno.EIO, ExitCode.MACHINE),
        (errno.EROFS, ExitCode.MACHINE),
    ],
)
def test_whatever_call_fails_a_good_state_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: ExitCode
) -> None:
    told: list[EchoError] = []
    for at in range(1, 100):
        folder = tmp_path / str(at)
        folder.mkdir()
        save_state(folder, state(1))
        save_state(folder, state(2))
        with monkeypatch.context() as patch:
            fault = Fault(patch, at, number)
            try:
                save_state(folder, state(3))
            except EchoError as error:
                told.append(error)
        loaded, _ = load_state(folder)
        assert loaded["step"] in (2, 3)
        assert (loaded["weights"] == loaded["step"]).all()
        sweep(folder)
        save_state(folder, state(4))
        assert load_state(folder)[0]["step"] == 4
        assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]
        shutil.rmtree(folder)
        if fault.calls < at:
            break
    assert len(told) == at - 1 >= 9  # every call of a save was let fail once
    assert {error.code for error in told} == {code}
    assert all(str(tmp_path) in error.problem for error in told)


FULL = """
import resource, signal, sys, torch
from pathlib import Path
from echocli.states import load_state, save_state
from echocli.errors import EchoError
folder = Path(sys.argv[1])
save_state(folder, {"step": 1, "weights": torch.zeros(1000)})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_state(folder, {"step": 2, "weights": torch.zeros(100_000)})
except EchoError as error:
    print(int(error.code))
print(load_state(folder)[0]["step"], len(list(folder.iterdir())))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
def test_a_limit_of_size_keeps_the_last_good_state(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert result.stdout.splitlines() == ["6", "1 2"], result.stderr


KILLED = """
import os, signal, sys, threading, torch
from pathlib import Path
from echocli.states import save_state
for seconds in sys.argv[2:]:
    if os.fork() == 0:
        kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
        for step in range(10**9):
            folder = Path(sys.argv[1], seconds)
            save_state(folder, {"step": step, "weights": torch.full((30000,), float(step))})
            if step == 0:
                threading.Timer(float(seconds), kill).start()
    _, status = os.wait()
    print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_at_any_moment_leaves_a_whole_state(tmp_path: Path) -> None:
    moments = ["0.01", "0.0217", "0.031", "0.0453", "0.0531"]
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *moments], check=True, capture_output=True
    )
    assert result.stdout.split() == [b"%d" % -signal.SIGKILL] * len(moments), result.stderr
    for moment in moments:
        loaded, damaged = load_state(tmp_path / moment)
        assert not damaged
        assert (loaded["weights"] == loaded["step"]).all()
