"""The map shows every clip where it lies, in its colour, with its picture."""

from __future__ import annotations

import re

import numpy as np

from echocli.reports.embedding_map import by_group, by_value, drawn_map
from echocli.reports.page import Html
from echocli.reports.pictures import TILE, contact_sheet

POINTS = np.array([[0.0, 0.0], [10.0, 5.0], [5.0, 10.0]])
WORDS = ["left <b>", "right", "top"]


def drawn() -> Html:
    colourings = [
        by_group("normal", ["normal", "abnormal", "unknown"]),
        by_value("EF", np.array([20.0, 70.0, np.nan])),
    ]
    return drawn_map(POINTS, ("one", "two"), WORDS, colourings, {1: 0}, "data:x", 1)


def places(html: str) -> dict[str, tuple[float, float]]:
    found = re.findall(r'--x:([\d.]+)%;--y:([\d.]+)%;.*?aria-label="([^"]*)"', html)
    return {word: (float(x), float(y)) for x, y, word in found}


def test_points_lie_as_in_the_embedding_and_are_walked_from_left_to_right() -> None:
    at = places(drawn())
    assert list(at) == ["left &lt;b&gt;", "top", "right"]
    left, top, right = at.values()
    assert left[0] < top[0] < right[0]
    assert top[1] < right[1] < left[1]  # from the top
    assert all(0 < share < 100 for place in at.values() for share in place)


def test_only_clips_with_a_picture_show_one_and_all_say_what_they_are() -> None:
    html = drawn()
    assert html.count("<b style=") == 1
    assert html.count('class="tip"') == len(WORDS)
    assert "<b>" not in html


def test_every_point_has_a_colour_of_each_kind_and_the_unknown_are_grey() -> None:
    colours = re.findall(r"--c0:([^;\"]+);--c1:([^;\"]+)", drawn())
    assert len(colours) == len(POINTS)
    groups = by_group("x", ["a", "b", "unknown", "a"]).of
    assert groups[0] == groups[3] != groups[1]
    assert groups[2] == "var(--edge)" == by_value("x", np.array([np.nan])).of[0]
    low, high = by_value("x", np.array([1.0, 2.0])).of
    assert low != high


def test_normal_has_the_same_colour_whatever_stands_beside_it() -> None:
    both, alone = by_group("x", ["abnormal", "normal"]).of[1], by_group("x", ["normal"]).of[0]
    assert both == alone


def test_pictures_stand_in_the_sheet_in_their_order() -> None:
    import base64
    import io

    from PIL import Image

    stills = [np.full((40, 30), grey, np.uint8) for grey in (10, 90, 170, 250, 130)]
    uri, columns = contact_sheet(stills)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L"))
    assert columns == 3
    for place, grey in enumerate((10, 90, 170, 250, 130)):
        down, across = divmod(place, columns)
        centre = sheet[down * TILE + TILE // 2, across * TILE + TILE // 2]
        assert abs(int(centre) - grey) < 8
