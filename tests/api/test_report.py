"""The report of a whole study, of a study with holes, and of a hostile one."""

from __future__ import annotations

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from ears import Ears
from made_study import write_study

from echocli.api.report import report
from echocli.errors import EchoError, UsageError
from echocli.files import write_json
from echocli.reports.numbers import interval
from echocli.reports.scope import target_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(whole, tmp_path / "study"))


class Checker(HTMLParser):
    """Notes what the page would load, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "href", "srcset", "xlink:href", "action", "data", "poster")
        self.links += [value or "" for name, value in attrs if name in names]
        if tag not in ("meta", "img", "source", "link", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def check(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


def test_the_page_is_whole_and_needs_nothing_else(whole: Path, tmp_path: Path) -> None:
    result = report(whole, tmp_path / "page.html")
    html = result.out.read_text()
    checked = check(html)
    assert all(link.startswith(("data:", "#")) for link in checked.links)
    assert {"script", "link", "iframe", "object", "form"}.isdisjoint(checked.tags)
    assert "@import" not in html
    assert result.unreadable == ()
    assert not re.search(r'class="missing"', html)
    for anchor in re.findall(r'<a href="#([^"]+)"', html):
        assert f'<section id="{anchor}"' in html
    assert result.megabytes < 5


class Outline(HTMLParser):
    """Notes what somebody needs who cannot see the page."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.bad: list[str] = []
        self.tables = self.captions = self.pictures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        self.ids += [has["id"]] if has.get("id") else []
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.pictures += tag in ("img", "svg")
        named = {"img": "alt", "svg": "aria-label", "th": "scope"}
        if tag in named and not has.get(named[tag]):
            self.bad.append(f"{tag} without {named[tag]}")
        for value in has.values():
            if re.search(r"(?i)\b(https?:|//|javascript:|url\((?!data:|#))", value or "") and (
                not (value or "").startswith(("data:", "http://www.w3.org/"))
            ):
                self.bad.append(f"{tag} fetches {(value or '')[:80]}")


def test_the_page_can_be_heard_and_walked(whole: Path, tmp_path: Path) -> None:
    outline = Outline()
    html = report(whole, tmp_path / "page.html").out.read_text()
    outline.feed(html)
    assert outline.bad == []
    assert outline.headings.count(1) == 1
    assert outline.headings[0] == 1
    steps = zip(outline.headings, outline.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)  # none is skipped
    assert outline.tables == outline.captions > 10
    assert outline.pictures > 20
    assert len(outline.ids) == len(set(outline.ids))
    assert html.index('class="skip"') < html.index("<h1>")


def test_the_page_tells_the_figures_that_the_files_hold(whole: Path, tmp_path: Path) -> None:
    html = report(whole, tmp_path / "page.html").out.read_text()
    words = " ".join(check(html).words)
    assert "16 sources read" in words
    assert "12 clips of 12 patients" in words
    assert "2 still" in words
    summary = json.loads((whole / "predictions" / "lvef.json").read_text())
    for figures in (summary["metrics"], summary["predict_the_mean"]):
        assert interval(figures["mae"]) in words
    assert "discovr-tiny" in words
    assert "vjepa-tiny" in words
    assert "not a medical device" in words
    assert "Nothing in this report says anything about real patients" in words
    assert "moving target" in words
    again = "--config runs/vjepa-tiny/config.json -o runs/vjepa-tiny-again"
    assert f"echocli pretrain {again}  # vjepa, tiny, 120 steps" in words


def test_figures_of_few_patients_are_not_put_at_the_head(study: Path) -> None:
    path = study / "scores.json"
    summary = json.loads(path.read_text())

    def head(patients: int) -> str:
        summary["test"]["patients"] = patients
        summary["patient_metrics"] = {"auroc": {"value": 0.987, "low": 0.9, "high": 1.0}}
        path.write_text(json.dumps(summary))
        words = " ".join(check(report(study, overwrite=True).out.read_text()).words)
        return words.partition("What was done")[0]

    assert "19 test patients are too few to quote" in head(19)
    assert "0.987" not in head(19)
    assert "0.987" in head(20)


def test_the_same_study_gives_the_same_page(whole: Path, tmp_path: Path) -> None:
    first = report(whole, tmp_path / "1.html").out.read_bytes()
    assert first == report(whole, tmp_path / "2.html").out.read_bytes()


def test_a_study_of_clips_alone_names_the_commands_that_come_next(study: Path) -> None:
    for part in ("runs", "heads", "predictions"):
        shutil.rmtree(study / part)
    for part in ("embeddings.parquet", "scores.csv", "scores.json"):
        (study / part).unlink()
    html = report(study).out.read_text()
    check(html)
    for command in ("pretrain", "embed", "score --anomaly", "lvef fit", "segment fit"):
        assert f"<code>echocli {command}</code>" in html


def test_a_study_without_clips_and_with_a_broken_part_is_still_reported(study: Path) -> None:
    shutil.rmtree(study / "clips")
    (study / "scores.csv").write_text("")
    result = report(study)
    assert result.unreadable == ("scores.csv",)
    html = result.out.read_text()
    check(html)
    assert "These parts are there but cannot be read: scores.csv." in html
    assert "<code>echocli preprocess</code>" in html


def test_results_of_clips_that_are_gone_are_named(study: Path) -> None:
    assert report(study).of_other_clips == ()
    scores = pd.read_csv(study / "scores.csv")
    scores.loc[0, "clip_id"] = "gone"
    scores.to_csv(study / "scores.csv", index=False)
    ears = Ears()
    result = report(study, overwrite=True, reporter=ears)
    assert result.of_other_clips == ("scores.csv",)
    told = "of other clips than those in clips/: scores.csv"
    assert told in " ".join(ears.warned)
    assert told in result.out.read_text()


def test_a_run_that_was_cut_off_is_told(study: Path) -> None:
    metrics = study / "runs" / "vjepa-tiny" / "metrics.jsonl"
    metrics.write_text("")
    shutil.rmtree(study / "runs" / "vjepa-tiny" / "model")
    html = report(study).out.read_text()
    assert "echocli pretrain --resume -o runs/vjepa-tiny" in html
    assert "0 of 120" in html


def test_scores_without_a_threshold_or_figures_are_shown(study: Path) -> None:
    summary = json.loads((study / "scores.json").read_text())
    summary |= {"threshold": None, "metrics": None, "patient_metrics": None}
    (study / "scores.json").write_text(json.dumps(summary))
    html = report(study).out.read_text()
    assert "too few normal patients" in html
    assert "they need labelled normal and abnormal test patients" in html


def test_predictions_without_measurements_are_shown(study: Path) -> None:
    table = pd.read_csv(study / "predictions" / "lvef.csv")
    table.drop(columns="measured_ef_percent").to_csv(
        study / "predictions" / "lvef.csv", index=False
    )
    assert "Nothing was measured" in report(study).out.read_text()


def test_a_patient_in_two_splits_is_shouted_about(study: Path) -> None:
    path = study / "clips" / "manifest" / "part-00000.parquet"
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    frame = table.to_pandas()
    first = frame["patient_id"].iloc[0]
    other = next(i for i in range(12) if frame["split"].iloc[i] != frame["split"].iloc[0])
    column = ["x" if i == other else name for i, name in enumerate(frame["patient_id"])]
    column[other] = first
    place = table.column_names.index("patient_id")
    pq.write_table(table.set_column(place, "patient_id", [column]), path)
    path.with_suffix(".json").unlink()  # its hash is that of the part as it was
    assert "1 IN TWO SPLITS" in report(study).out.read_text()


def test_no_text_of_a_study_is_obeyed_by_the_browser(study: Path) -> None:
    evil = "</code><script>alert(1)</script>"
    config = study / "runs" / "vjepa-tiny" / "config.json"
    content = json.loads(config.read_text())
    content |= {"device": evil, "settings": {**content["settings"], "method": evil}}
    config.write_text(json.dumps(content))
    lines = (study / "clips" / "quarantine.csv").read_text().replace("no_sector", evil)
    (study / "clips" / "quarantine.csv").write_text(lines)
    html = report(study).out.read_text()
    assert "script" not in check(html).tags
    assert "&lt;script&gt;" in html


def test_nothing_is_replaced_unasked(study: Path) -> None:
    report(study)
    with pytest.raises(UsageError):
        report(study)
    report(study, overwrite=True)


@pytest.mark.parametrize("inside", ["clips", "predictions", "."])
def test_the_study_is_found_from_inside(study: Path, inside: str) -> None:
    target = target_of(study / inside)
    assert (target.kind, target.folder.resolve()) == ("study", study.resolve())


def test_a_run_has_a_page_of_its_own_with_nothing_of_the_others(study: Path) -> None:
    result = report(study / "runs" / "vjepa-tiny")
    assert result.out == study.resolve() / "report-run-vjepa-tiny.html"
    words = " ".join(check(result.out.read_text()).words)
    assert "Run vjepa-tiny" in words
    assert "discovr-tiny" not in words
    assert "Ejection fraction" not in result.sections  # its head is of another encoder
    assert "Make it with" not in words


def test_a_head_has_a_page_of_its_own_with_its_predictions(study: Path) -> None:
    name_encoder(study, "lvef")
    result = report(study / "heads" / "lvef")
    assert result.out == study.resolve() / "report-head-lvef.html"
    assert {"Ejection fraction", "Model cards", "Checklists"} <= set(result.sections)
    assert not {"Anomaly scores", "Segmentation", "Embeddings"} & set(result.sections)
    words = " ".join(check(result.out.read_text()).words)
    assert "Head lvef" in words
    assert "vjepa-tiny" in words
    assert "discovr-tiny" not in words


def name_encoder(study: Path, task: str) -> None:
    """Note everywhere that the head's encoder is that of the run vjepa-tiny."""
    sha256 = "5" * 64
    write_json(
        study / "runs" / "vjepa-tiny" / "model" / "SHA256SUMS.json",
        {"model.safetensors": sha256},
    )
    for path in (
        study / "heads" / task / "config.json",
        study / "predictions" / f"{task}.json",
    ):
        write_json(path, {**json.loads(path.read_text()), "model_sha256": sha256})


@pytest.mark.parametrize("part", ["runs/vjepa-tiny", "heads/lvef"])
def test_a_run_or_head_that_stands_alone_is_reported(
    whole: Path, tmp_path: Path, part: str
) -> None:
    alone = Path(shutil.copytree(whole / part, tmp_path / "alone"))
    result = report(alone)
    assert result.out.parent == tmp_path.resolve()
    check(result.out.read_text())
    assert "Model cards" in result.sections


def test_no_path_and_no_patient_of_the_study_stands_in_the_page(study: Path) -> None:
    config = study / "runs" / "vjepa-tiny" / "config.json"
    content = json.loads(config.read_text())
    content["settings"]["init"] = "/home/dr.brown/patients/model"
    config.write_text(json.dumps(content))
    manifest = pd.read_parquet(study / "clips" / "manifest" / "part-00000.parquet")
    html = report(study).out.read_text()
    tables = re.findall(r"data:text/csv;base64,([^\"]*)", html)
    html += "".join(base64.b64decode(one).decode() for one in tables)
    assert "brown" not in html
    for patient in manifest["patient_id"]:
        assert patient not in html


def test_an_empty_folder_and_none_at_all_are_told(tmp_path: Path) -> None:
    with pytest.raises(EchoError, match="echocli preprocess"):
        report(tmp_path)
    with pytest.raises(EchoError):
        report(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []
