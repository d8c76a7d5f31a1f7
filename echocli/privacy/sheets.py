"""The audit as pages for people: what was done, what was checked, and every clip to look at."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Protocol

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from echocli.clips.store import ClipSet
from echocli.files import write_text
from echocli.privacy.audit import AUDIT_PAGE, Check
from echocli.privacy.sheets_style import CSS
from echocli.privacy.sheets_words import (
    CANNOT_PROVE,
    COPIES_TOO,
    DATES_DROPPED,
    DATES_MOVED,
    DONE,
    HOW_TO_LOOK,
    SIGN,
)

CLIPS_ON_A_PAGE = 300
"""About 3 MB of HTML: opens at once on an old laptop."""
SAMPLE = 50
"""Clips to look at in large. With none of 50 at fault, a true rate of 6 % or more would have
shown itself with 95 % confidence (1 - 0.94**50)."""
GAP = 4
"""Columns between the pictures of a clip."""
QUALITY = 72
COUNTS = ("Files", "Looked at")
"""Columns of tables that hold numbers."""


class Refusal(Protocol):
    """A source that became no clip."""

    @property
    def reason(self) -> str:
        """The word for it."""

    @property
    def explanation(self) -> str:
        """What it means, for people."""


def write_contact_sheets(
    clips: ClipSet, quarantined: Iterable[Refusal], checks: Sequence[Check], out: Path
) -> list[Path]:
    """Write ``audit.html`` and the pages that show every clip: ``audit-2.html`` and so on.

    The pages need no network and run no script. They hold pictures of the stored frames,
    pseudonymous ids, counts and fixed sentences.

    Args:
        clips: The clip set.
        quarantined: The sources that became no clip.
        checks: What was proved.
        out: Folder of the pages.

    Returns:
        The pages. Those of an earlier, larger set are removed.
    """
    order = np.argsort(clips.manifest["clip_id"].to_numpy(dtype=str))
    sample = [int(row) for row in order[:SAMPLE]]
    every = range(len(clips)) if len(clips) > SAMPLE else range(0)
    parts = [every[i : i + CLIPS_ON_A_PAGE] for i in range(0, len(every), CLIPS_ON_A_PAGE)]
    names = [AUDIT_PAGE, *(AUDIT_PAGE.replace(".", f"-{n}.") for n in range(2, 2 + len(parts)))]
    front = _front(clips, list(quarantined), checks, sample, _links(parts, names))
    write_text(out / AUDIT_PAGE, _page("Privacy audit", front))
    for name, rows in zip(names[1:], parts, strict=True):
        title = f"Clips {rows[0] + 1} to {rows[-1] + 1} of {len(clips)}"
        body = f"<nav>{_links(parts, names, name)}</nav>{_sheet(clips, rows)}"
        write_text(out / name, _page(title, body))
    for stale in out.glob(AUDIT_PAGE.replace(".", "-*.")):
        if stale.name not in names:
            stale.unlink()
    return [out / name for name in names]


def strip(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the first frame, the brightest value of each pixel, and the last, side by side.

    What stands still and is bright, as text is, shows in the middle picture whenever it came.
    """
    gap = np.zeros((frames.shape[1], GAP), np.uint8)
    return np.hstack([frames[0], gap, frames.max(axis=0), gap, frames[-1]])


def _front(
    clips: ClipSet,
    quarantined: Sequence[Refusal],
    checks: Sequence[Check],
    sample: Sequence[int],
    links: str,
) -> str:
    manifest = clips.manifest
    shifted = "study_date" in manifest and manifest["study_date"].notna().any()
    done = [*DONE, DATES_MOVED if shifted else DATES_DROPPED]
    if any(clips.folder.glob("dicom/*.dcm")):
        done.append(COPIES_TOO)
    counts = {
        "files read": len(clips) + len(quarantined),
        "clips kept": len(clips),
        "patients": manifest["patient_id"].nunique(),
        "files refused": len(quarantined),
    }
    all_clips = (
        f"<p>All {len(clips)} clips, {CLIPS_ON_A_PAGE} on a page:</p><nav>{links}</nav>"
        if links
        else "<p>These are all clips of the set.</p>"
    )
    return "".join(
        [
            _counts(counts),
            _section("What was done", _list(done)),
            _section("What was refused", _refusals(quarantined)),
            _section("What was checked", _checks(checks)),
            _section("What no program can prove", _list(CANNOT_PROVE)),
            _section("How to look at the clips", _list(HOW_TO_LOOK, "ol")),
            _section(f"{len(sample)} clips to look at", _sheet(clips, sample, large=True)),
            _section("Every clip", all_clips),
            _section("Sign-off", _sign_off(len(clips))),
        ]
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _counts(counts: dict[str, int]) -> str:
    pairs = (f"<div><dt>{name}</dt><dd>{count:,}</dd></div>" for name, count in counts.items())
    return f'<dl class="counts">{"".join(pairs)}</dl>'


def _list(lines: Iterable[str], kind: str = "ul") -> str:
    return f"<{kind}>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</{kind}>"


def _refusals(quarantined: Sequence[Refusal]) -> str:
    if not quarantined:
        return "<p>No file was refused.</p>"
    kinds = Counter((entry.reason, entry.explanation) for entry in quarantined)
    rows = [(text, reason, f"{n:,}") for (reason, text), n in kinds.most_common()]
    return _table("Nothing of these files was kept.", ("Why", "Word", "Files"), rows)


def _checks(checks: Sequence[Check]) -> str:
    rows = [
        (check.check, f"{check.looked_at:,}", "passed" if check.passed else "FAILED")
        for check in checks
    ]
    caption = "The finished files were opened again. A single failure would have kept nothing."
    return _table(caption, ("What holds", "Looked at", "Result"), rows)


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(_head(name) for name in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _head(name: str) -> str:
    kind = ' class="number"' if name in COUNTS else ""
    return f'<th scope="col"{kind}>{escape(name)}</th>'


def _cell(content: str) -> str:
    kinds = {"passed": "good", "FAILED": "bad"}
    kind = kinds.get(content, "number" if content.replace(",", "").isdigit() else "")
    return (
        f'<td class="{kind}">{escape(content)}</td>' if kind else f"<td>{escape(content)}</td>"
    )


def _sheet(clips: ClipSet, rows: Iterable[int], *, large: bool = False) -> str:
    kind = "sheet large" if large else "sheet"
    return f'<div class="{kind}">{"".join(_figures(clips, rows))}</div>'


def _figures(clips: ClipSet, rows: Iterable[int]) -> Iterator[str]:
    for row in rows:
        clip_id = escape(str(clips.manifest["clip_id"].iloc[row]))
        picture = strip(clips.frames(row))
        jpeg = simplejpeg.encode_jpeg(
            np.ascontiguousarray(picture[..., None]),
            quality=QUALITY,
            colorspace="GRAY",
            colorsubsampling="Gray",
        )
        height, width = picture.shape
        clips.forget()  # a set may be larger than the memory
        yield (
            f'<figure><img loading="lazy" decoding="async" width="{width}" height="{height}" '
            f'alt="Clip {clip_id}: first frame, brightest projection, last frame" '
            f'src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode("ascii")}">'
            f"<figcaption>{clip_id}</figcaption></figure>\n"
        )


def _links(parts: Sequence[range], names: Sequence[str], here: str = "") -> str:
    links = [f'<a href="{names[0]}">Summary</a>'] if here else []
    for rows, name in zip(parts, names[1:], strict=True):
        label = f"{rows[0] + 1} to {rows[-1] + 1}"
        current = ' aria-current="page"' if name == here else ""
        links.append(f'<a href="{name}"{current}>{label}</a>')
    return " ".join(links)


def _sign_off(clips: int) -> str:
    rows = "".join(f"<dt>{escape(line)}</dt><dd></dd>" for line in SIGN)
    return (
        f'<div class="sign"><p>I looked at pictures of this set of {clips:,} clips.</p>'
        f"<dl>{rows}</dl></div>"
    )


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Even a page whose text was tampered with may load nothing and run nothing.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><p class="muted">De-identified heart ultrasound, '
        f"made by echocli</p></header><main>{body}</main></body></html>\n"
    )
