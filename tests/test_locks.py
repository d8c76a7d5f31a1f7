"""A lock is held by one, or shared, and ends with whoever held it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from echocli import locks
from echocli.errors import MachineError
from echocli.locks import NoLocksError, locked, take

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX systems")


def test_one_holds_a_lock_until_it_lets_go(tmp_path: Path) -> None:
    first = take(tmp_path / "lock")
    assert first is not None
    assert take(tmp_path / "lock") is None
    assert take(tmp_path / "lock", shared=True) is None
    os.close(first)
    with locked(tmp_path / "lock") as held:
        assert held
    assert (tmp_path / "lock").read_bytes() == b""


def test_those_who_share_keep_out_who_does_not(tmp_path: Path) -> None:
    place = tmp_path / "new" / "lock"
    with locked(place, shared=True) as one, locked(place, shared=True) as other:
        assert one
        assert other
        with locked(place) as alone:
            assert not alone


def test_a_lock_on_a_file_that_was_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    lock = locks.lock

    def late(descriptor: int, *, shared: bool, wait: bool) -> bool:
        if not tries:  # whoever held it removes it just before we get it
            (tmp_path / "lock").unlink()
        tries.append(descriptor)
        return lock(descriptor, shared=shared, wait=wait)

    monkeypatch.setattr(locks, "lock", late)
    held = take(tmp_path / "lock")
    assert held is not None
    assert os.path.samestat(os.fstat(held), (tmp_path / "lock").stat())
    assert len(tries) == 2
    os.close(held)


@pytest.mark.parametrize("number", locks.UNKNOWN)
def test_a_file_system_without_locks_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(NoLocksError):
        take(tmp_path / "lock")
    with pytest.raises(MachineError, match="knows no locks"), locked(tmp_path / "lock"):
        pass


def test_what_else_goes_wrong_is_not_hidden_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(OSError, match="the disk is broken"):
        take(tmp_path / "lock")
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
