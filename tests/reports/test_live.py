"""The page of a run says where it is, whatever is known of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echocli.reports.curves import Curve
from echocli.reports.live import Progress, live_page

NOW = Progress(
    name="<run>",
    method="vjepa",
    state="training",
    alive=True,
    written="2030-01-02 03:04:05 UTC",
    done=250,
    steps=1000,
    seconds_left=7200.0,
)


def curve(*values: float) -> Curve:
    drawn = Curve()
    for step, value in enumerate(values):
        drawn.add(step, value)
    return drawn


def test_a_page_before_the_first_step_says_so() -> None:
    page = live_page(replace(NOW, done=0, seconds_left=None), {})
    assert "Not one step is done yet" in page
    assert "not looked at yet" in page
    assert "&lt;run&gt;" in page
    assert "<run>" not in page


def test_a_page_shows_all_that_is_known() -> None:
    curves = {
        "loss": curve(3.0, 2.5, 2.0),
        "lr": curve(0.1, 0.2, 0.3),
        "effective_rank": curve(12.0, 6.5),
        "probe": curve(9.0, 8.25),
        "probe_guess": curve(11.5, 11.5),
        "probe_score": curve(0.2, 0.28),
        "clips_per_s": curve(81.25),
        "seconds": curve(0.1, 0.2),
        "data_wait": curve(0.0, 0.01),
    }
    words = {"probe": "Probe: 8.25.", "probe_axis": "error of x", "guess_name": "the mean"}
    page = live_page(replace(NOW, **words, alarms=["It fell."]), curves)
    for told in (
        "250",
        "25% done",
        "2.0 h",
        "moving target",
        "6.5",
        "12 at the start",
        "0.280",
    ):
        assert told in page, told
    for told in ("81", "Probe: 8.25.", "error of x", "the mean", "It fell.", "learning rate"):
        assert told in page, told
    assert "No sign of a collapse" not in page
    assert "No sign of a collapse" in live_page(NOW, curves)
    assert page.count("<svg") == 6


@pytest.mark.parametrize("alive", [True, False])
def test_only_the_page_of_a_living_run_asks_to_be_read_again(alive: bool) -> None:
    page = live_page(replace(NOW, alive=alive, state="stopped after step 250"), {})
    assert ("refresh" in page) == alive
    assert ("does not change any more" in page) != alive
    assert NOW.written in page
