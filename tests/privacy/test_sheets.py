"""The audit page is one file for people: complete, plain, and it loads nothing."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from micro import micro_clip, write_clips
from PIL import Image

from echocli.clips.store import ClipSet
from echocli.privacy import sheets
from echocli.privacy.audit import Check
from echocli.privacy.sheets import GAP, strip, write_contact_sheets

CHECKS = [Check("every id is a keyed hash", 3, True), Check("another & more", 1234, True)]
REFUSED = [
    SimpleNamespace(reason="still", explanation="a single image, not a loop"),
    SimpleNamespace(reason="still", explanation="a single image, not a loop"),
    SimpleNamespace(reason="too_few_frames", explanation="3 frames, <b>too few</b>"),
]
SOURCE = re.compile(r'alt="Clip (\w+): [^"]*" src="data:image/jpeg;base64,([^"]+)"')


class Tags(HTMLParser):
    """Notes the tags that are open, and everything that points somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        named = dict(attrs)
        self.links += [str(named[name]) for name in ("href", "src", "action") if name in named]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


@pytest.fixture
def clips(tmp_path: Path) -> ClipSet:
    return write_clips(tmp_path / "set", [micro_clip(number, frames=9) for number in range(7)])


def test_the_page_says_everything_and_loads_nothing(clips: ClipSet, tmp_path: Path) -> None:
    (path,) = write_contact_sheets(clips, REFUSED, CHECKS, tmp_path)
    page = path.read_text()
    tags = parsed(page)
    assert all(link.startswith("data:image/jpeg") for link in tags.links)
    assert not tags.tags & {"script", "iframe", "link", "form", "input", "object"}
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    for text in ("every id is a keyed hash", "another &amp; more", "1,234", "passed"):
        assert text in page
    assert "<td>a single image, not a loop</td><td>still</td>" in page
    assert "&lt;b&gt;too few" in page
    assert ">10<" in page  # 7 clips and 3 refusals were read
    assert [clip_id for clip_id, _ in SOURCE.findall(page)] == sorted(clips.manifest["clip_id"])


def test_pictures_show_first_brightest_and_last(clips: ClipSet, tmp_path: Path) -> None:
    frames = clips.frames(0)
    picture = strip(frames)
    side = frames.shape[2]
    expected = [frames[0], np.maximum.reduce(list(frames)), frames[-1]]
    for place, part in enumerate(expected):
        start = place * (side + GAP)
        np.testing.assert_array_equal(picture[:, start : start + side], part)
    (path,) = write_contact_sheets(clips, [], CHECKS, tmp_path)
    encoded = dict(SOURCE.findall(path.read_text()))[clips.manifest["clip_id"][0]]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as shown:
        assert shown.mode == "L"
        difference = np.abs(np.asarray(shown).astype(int) - picture)
    assert difference.mean() < 10  # noise is the worst there is for JPEG


def test_many_clips_get_pages_and_none_is_left_out(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "SAMPLE", 2)
    monkeypatch.setattr(sheets, "CLIPS_ON_A_PAGE", 3)
    (tmp_path / "audit-9.html").write_text("of an earlier, larger set")
    pages = write_contact_sheets(clips, [], CHECKS, tmp_path)
    assert [page.name for page in pages] == [
        "audit.html", "audit-2.html", "audit-3.html", "audit-4.html",
    ]  # fmt: skip
    assert sorted(tmp_path.glob("audit*.html")) == sorted(pages)
    shown = [SOURCE.findall(page.read_text()) for page in pages]
    assert [len(one) for one in shown] == [2, 3, 3, 1]
    everything = {clip_id for one in shown[1:] for clip_id, _ in one}
    assert everything == set(clips.manifest["clip_id"])
    for page in pages:
        targets = {link for link in parsed(page.read_text()).links if "data:" not in link}
        assert targets >= {"audit-2.html", "audit-3.html", "audit-4.html"}
        assert all((tmp_path / link).exists() for link in targets)


def test_the_same_set_gives_the_same_pages(clips: ClipSet, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_contact_sheets(clips, REFUSED, CHECKS, tmp_path / name)
    one, other = (tmp_path / name / "audit.html" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_a_set_without_clips_has_a_page(tmp_path: Path, clips: ClipSet) -> None:
    (path,) = write_contact_sheets(clips.subset([]), REFUSED, CHECKS, tmp_path)
    parsed(path.read_text())
