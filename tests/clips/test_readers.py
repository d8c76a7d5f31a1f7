"""Readers work ahead, hand over in order, and never leave anybody waiting for nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echocli.clips import readers as module
from echocli.clips.readers import AHEAD, in_flight, in_order, usual_readers

COUNTS = [0, 1, 2, 5]


@given(turns=st.lists(st.floats(0, 1e-3), max_size=12), readers=st.sampled_from(COUNTS))
def test_order_does_not_depend_on_who_is_quick(turns: list[float], readers: int) -> None:
    wait = threading.Event()

    def work(number: int) -> int:
        wait.wait(turns[number])
        return number

    tasks = (partial(work, number) for number in range(len(turns)))
    assert list(in_order(tasks, readers)) == list(range(len(turns)))


@pytest.mark.parametrize("readers", COUNTS)
def test_an_error_comes_in_its_turn_with_its_words_and_its_place(readers: int) -> None:
    def fail() -> int:
        raise MemoryError("no room for frame 7 of clip c003")

    tasks: list[Callable[[], int]] = [lambda: 1, lambda: 2, fail, lambda: 4]
    found = in_order(tasks, readers)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(MemoryError, match="no room for frame 7 of clip c003") as raised:
        next(found)
    assert raised.traceback[-1].name == "fail"


class LastWords(BaseException):
    """What no reader would catch."""


@pytest.mark.parametrize("readers", COUNTS)
def test_a_reader_that_dies_is_not_waited_for(readers: int) -> None:
    def die() -> int:
        raise LastWords

    with pytest.raises(LastWords):
        list(in_order([lambda: 1, die, lambda: 3], readers))
    assert not [t for t in threading.enumerate() if t.name.startswith("reader")]


@pytest.mark.parametrize("readers", COUNTS)
def test_who_leaves_early_leaves_no_thread(readers: int) -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number

    def tasks() -> Iterator[Callable[[], int]]:
        for number in range(1000):
            yield partial(work, number)

    found = in_order(tasks(), readers)
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("reader")]
    assert len(begun) <= in_flight(readers)


@pytest.mark.parametrize("readers", [1, 2, 5])
def test_a_task_begins_only_when_there_is_room_for_its_result(readers: int) -> None:
    taken, most = 0, [0]

    def tasks() -> Iterator[Callable[[], int]]:
        for number in range(50):
            most[0] = max(most[0], number + 1 - taken)
            yield partial(int, number)

    for taken, number in enumerate(in_order(tasks(), readers), start=1):
        assert number == taken - 1
    assert most[0] == in_flight(readers)
    assert in_flight(readers) > max(readers, AHEAD)


def test_readers_are_no_more_than_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    for allowed, readers in ((1, 1), (2, 2), (64, module.MOST)):
        monkeypatch.setattr(module, "allowed_cpus", lambda allowed=allowed: allowed)
        assert usual_readers() == readers
