"""Figures are part of the page: its colours, its own ids, nothing from outside."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from echocli.reports import figures
from echocli.reports.page import Html

GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.normal(55, 10, 40), GENERATOR.normal(55, 10, 40)
DRAWN = {
    "histogram": figures.histogram({"train": X, "test": Y}, "EF", "histogram"),
    "one group": figures.histogram({"all": X[:3]}, "EF", "one-group"),
    "one rate": figures.histogram({"all": 50 + np.arange(20) % 2 * 8e-15}, "Hz", "one-rate"),
    "scores": figures.score_distribution({"normal": X, "abnormal": Y}, 60.0, "scores"),
    "scores without threshold": figures.score_distribution({"all": X}, None, "no-threshold"),
    "ef": figures.ef_scatter(X, Y, 54.0, "ef"),
    "bland altman": figures.bland_altman(X, Y, 0.5, (-20.0, 21.0), "bland-altman"),
    "areas": figures.area_curve(
        np.arange(40.0), {"cavity": X, "atrium": Y}, "s", "cm2", "areas"
    ),
}


@pytest.mark.parametrize("svg", DRAWN.values(), ids=DRAWN.keys())
def test_a_figure_is_well_formed_and_follows_the_page(svg: Html) -> None:
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.get("aria-label")
    assert "#0101" not in svg  # every stand-in for a colour was replaced
    assert "currentColor" in svg
    assert "<style" not in svg
    assert "<metadata" not in svg
    references = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', svg)
    assert all(one.startswith(("#", "data:")) for pair in references for one in pair if one)


@pytest.mark.parametrize("svg", DRAWN.values(), ids=DRAWN.keys())
def test_every_reference_of_a_figure_is_defined_in_it(svg: Html) -> None:
    defined = set(re.findall(r'\bid="([^"]*)"', svg))
    used = set(re.findall(r'(?:url\(#|href="#)([^")]*)', svg))
    assert used <= defined


def test_no_two_figures_share_an_id() -> None:
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in DRAWN.values()]
    assert len(set.union(*ids)) == sum(map(len, ids))


def test_the_same_data_give_the_same_bytes() -> None:
    assert figures.ef_scatter(X, Y, 54.0, "ef") == DRAWN["ef"]


def test_many_points_become_a_picture_and_not_a_hundred_thousand_marks() -> None:
    scores = GENERATOR.normal(0, 1, 20_000)
    svg = figures.score_distribution({"all": scores}, None, "many")
    assert len(svg) < 300_000
    assert "data:image/png" in svg


def test_clips_are_counted_in_whole_numbers() -> None:
    drawn = str(figures.histogram({"all": np.array([10.0, 20.0, 30.0])}, "Hz", "few"))
    assert not re.findall(r">0\.\d", drawn)
    assert ">1<" in drawn
