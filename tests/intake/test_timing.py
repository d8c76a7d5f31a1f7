from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from echocli.clips.record import mean_rate_hz
from echocli.intake.loop import NOTES
from echocli.intake.timing import HINTS, RISING, frame_times, timing_notes


def header(**told: Any) -> Any:
    empty = {
        "frame_time_ms": None,
        "frame_time_vector_ms": (),
        "vector_is_named": False,
        "frame_duration_ms": None,
        "trim": None,
        "frames": 10,
        "cine_rate_hz": None,
        "recommended_rate_hz": None,
    }
    return SimpleNamespace(**{**empty, **told})


def test_frame_time_is_in_milliseconds() -> None:
    times, source = frame_times(header(frame_time_ms=25.0), 5)
    assert source == "frame_time"
    np.testing.assert_allclose(times, [0, 0.025, 0.05, 0.075, 0.1])
    assert mean_rate_hz(times) == pytest.approx(40)


@pytest.mark.parametrize("step_ms", [0.9, 1000.1])
def test_steps_of_no_echocardiogram_are_not_believed(step_ms: float) -> None:
    assert frame_times(header(frame_time_ms=step_ms), 5) == (None, "unknown")
    assert frame_times(header(frame_time_vector_ms=(step_ms,) * 5), 5) == (None, "unknown")


@pytest.mark.parametrize("step_ms", [1.0, 1000.0])
def test_the_shortest_and_the_longest_step_are(step_ms: float) -> None:
    times, _ = frame_times(header(frame_time_ms=step_ms), 5)
    assert times[-1] == pytest.approx(4 * step_ms / 1000)


@pytest.mark.parametrize("first", [0.0, 33.0, -1.0])
def test_the_first_entry_of_a_vector_belongs_to_no_pair(first: float) -> None:
    times, source = frame_times(header(frame_time_vector_ms=(first, 20.0, 40.0, 20.0)), 4)
    assert source == "frame_time_vector"
    np.testing.assert_allclose(times, [0, 0.02, 0.06, 0.08])


def test_a_vector_of_one_entry_less_holds_the_steps() -> None:
    times, _ = frame_times(header(frame_time_vector_ms=(20.0, 40.0)), 3)
    np.testing.assert_allclose(times, [0, 0.02, 0.06])


@pytest.mark.parametrize(
    "vector", [(0.0, 20.0), (0.0, 20.0, 0.0, 20.0), (0.0, 9e9, 20.0, 20.0)]
)
def test_a_vector_that_does_not_fit_is_not_believed(vector: tuple[float, ...]) -> None:
    assert frame_times(header(frame_time_vector_ms=vector), 4) == (None, "unknown")
    _, source = frame_times(header(frame_time_vector_ms=vector, frame_time_ms=30.0), 4)
    assert source == "frame_time"


def test_the_pointer_decides_between_two() -> None:
    both = {"frame_time_ms": 30.0, "frame_time_vector_ms": (0.0, 20.0, 20.0)}
    assert frame_times(header(**both), 3)[1] == "frame_time"
    assert frame_times(header(**both, vector_is_named=True), 3)[1] == "frame_time_vector"


def test_playback_rates_are_the_last_resort_and_marked() -> None:
    for told, source in (
        ({"frame_duration_ms": 20.0, "cine_rate_hz": 60.0}, "actual_frame_duration"),
        ({"cine_rate_hz": 50.0, "recommended_rate_hz": 30.0}, "cine_rate"),
        ({"recommended_rate_hz": 30.0}, "recommended_rate"),
    ):
        times, said = frame_times(header(**told), 10)
        assert said == source
        assert said in HINTS
        first = next(iter(told.values()))
        expected = 1000 / first if source == "actual_frame_duration" else first
        assert mean_rate_hz(times) == pytest.approx(expected)
        assert timing_notes(header(**told), times, said) == ["rate_is_a_hint"]
    assert frame_times(header(cine_rate_hz=50.0, frame_time_ms=40.0), 9)[1] == "frame_time"


@pytest.mark.parametrize("dirt", [0.0, -5.0, 1e-6, 1e9, float("nan"), float("inf"), None])
def test_absence_and_dirt_are_unknown(dirt: float | None) -> None:
    assert frame_times(header(frame_time_ms=dirt), 10) == (None, "unknown")


def notes(frames: int = 10, **told: Any) -> list[str]:
    data = header(frames=frames, **told)
    times, source = frame_times(data, frames)
    found = timing_notes(data, times, source)
    assert set(found) <= set(NOTES)
    return found


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"frame_time_ms": 47.44, "cine_rate_hz": 21}, []),  # rounded
        ({"frame_time_ms": 82.095, "cine_rate_hz": 30}, ["rates_disagree", "low_rate"]),
        ({"frame_time_ms": 40.0, "cine_rate_hz": 0}, []),
        ({"frame_time_ms": 40.0, "cine_rate_hz": 1e9}, []),
        ({"frame_time_ms": 40.0, "recommended_rate_hz": 60}, []),
        ({"frame_time_ms": 66.6}, []),
        ({"frame_time_ms": 67.0}, ["low_rate"]),
        ({"cine_rate_hz": 10}, ["rate_is_a_hint", "low_rate"]),
        ({"frame_time_vector_ms": (0.0, 20.0), "frame_time_ms": 20.0}, ["vector_ignored"]),
        ({"frame_time_vector_ms": (0.0, 20.0)}, ["vector_ignored"]),
        ({"frame_time_vector_ms": (0.0, *[20.0] * 9), "frame_time_ms": 20.0}, []),
        ({"frame_time_ms": 20.0, "trim": (1, 10)}, []),
        ({"frame_time_ms": 20.0, "trim": (3, 10)}, ["trimmed"]),
        ({"frame_time_ms": 20.0, "trim": (1, 9)}, ["trimmed"]),
        ({}, []),
    ],
)
def test_doubts_are_noted(told: dict[str, Any], expected: list[str]) -> None:
    assert notes(**told) == expected


def test_a_list_of_times_is_not_taken_for_steps() -> None:
    times = tuple(20.0 * k for k in range(10))
    assert notes(frame_time_vector_ms=times) == ["vector_ignored"]
    assert frame_times(header(frame_time_vector_ms=times), 10) == (None, "unknown")


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=50))
def test_times_are_the_running_sum(steps: list[float]) -> None:
    assume(len(steps) < RISING or any(b <= a for a, b in pairwise(steps)))
    told = header(frame_time_vector_ms=(0.0, *steps), vector_is_named=True)
    times, _ = frame_times(told, len(steps) + 1)
    assert times is not None
    total = 0.0
    for time, step in zip(times[1:], steps, strict=True):
        total += step / 1000
        assert time == pytest.approx(total)


def test_one_frame_has_no_rate() -> None:
    assert mean_rate_hz(np.array([0.0])) is None
    assert mean_rate_hz(None) is None
