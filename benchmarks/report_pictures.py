"""Picture the report of a study as a browser shows and prints it, for the documentation.

    echocli demo -o echo-demo
    python benchmarks/report_pictures.py echo-demo docs

Needs Chromium or Chrome, and pypdfium2 for the printed pages. A page is far longer than wide:
it is cut into columns that stand side by side, and made smaller.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageColor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import Page, browser, browser_path

from echocli.api.report import report
from echocli.reports.embedding_map import PALETTE
from echocli.reports.pictures import COLOURS as LINES
from echocli.reports.style import CSS

SCREENS = {"desktop": (1280, 900, 0.25, 6), "phone": (390, 844, 0.32, 12)}
"""Width and height of the window, how much smaller, and columns of the sheet."""
GAP = 12
GREYS = 26
COLOURS = re.findall(r"#[0-9a-f]{6}", " ".join([CSS, *PALETTE]))
OUTLINES = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in LINES.values()]
"""Colours of the page and of the outlines; with greys they are all that a picture needs."""
PAGES = 10
EDGE = 12
BESIDE = (
    ("#flow .flow", "#embeddings .map"),
    ("#anomaly .exemplars", "#lvef .figures", "#segment .overlays"),
)
"""What the picture of the README shows, by column."""
WIDEST = 1400


def sheet(pictures: list[Image.Image], columns: int, grey: int) -> Image.Image:
    """Return pictures of one size side by side."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    size = (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP)
    whole = Image.new("RGB", size, (grey, grey, grey))
    for place, picture in enumerate(pictures):
        down, across = divmod(place, columns)
        at = (GAP + across * (width + GAP), GAP + down * (height + GAP))
        whole.paste(picture, at)
    return whole


def in_columns(picture: Image.Image, smaller: float, columns: int, grey: int) -> Image.Image:
    """Return a long picture cut into columns."""
    size = (round(picture.width * smaller), round(picture.height * smaller))
    small = picture.resize(size, Image.Resampling.LANCZOS)
    height = -(-size[1] // columns)
    cuts = [small.crop((0, n * height, size[0], (n + 1) * height)) for n in range(columns)]
    return sheet(cuts, columns, grey)


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture in few colours."""
    greys = [f"#{n:02x}{n:02x}{n:02x}" for n in range(0, 256, 255 // (GREYS - 1))]
    colours = [ImageColor.getrgb(name) for name in [*greys, *COLOURS, *OUTLINES]]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in colours for part in colour])
    few = picture.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(f"{path} {picture.width} x {picture.height}, {path.stat().st_size / 1e3:.0f} kB")


def screens(page: Page, source: Path, folder: Path) -> None:
    """Picture the page in each window and colour scheme."""
    for name, (width, height, smaller, columns) in SCREENS.items():
        for scheme in ("light", "dark"):
            page.screen(width, height, scheme, "reduce")
            page.open(source)
            taken = Image.open(io.BytesIO(page.picture()))
            grey = 190 if scheme == "light" else 70
            path = folder / f"report-{name}-{scheme}.png"
            save(in_columns(taken, smaller, columns, grey), path)


def crops(page: Page, source: Path, folder: Path) -> None:
    """Picture the map while somebody looks at a clip, and the parts that the README shows."""
    page.screen(1280, 900, motion="reduce")
    page.open(source)
    page.value("document.querySelectorAll('.plot input')[20]?.click()")
    whole = Image.open(io.BytesIO(page.picture()))
    save(whole.crop(edges_of(page, "#embeddings .map")), folder / "report-map.png")
    columns = []
    for selectors in BESIDE:
        parts = [whole.crop(edges_of(page, one)) for one in selectors]
        height = sum(part.height for part in parts)
        column = Image.new("RGB", (max(part.width for part in parts), height), "#fdfdfc")
        for place, part in enumerate(parts):
            column.paste(part, (0, sum(one.height for one in parts[:place])))
        columns.append(column)
    size = (sum(one.width for one in columns), max(one.height for one in columns))
    picture = Image.new("RGB", size, "#fdfdfc")
    picture.paste(columns[0], (0, 0))
    picture.paste(columns[1], (columns[0].width, 0))
    smaller = WIDEST / picture.width
    size = (WIDEST, round(picture.height * smaller))
    save(picture.resize(size, Image.Resampling.LANCZOS), folder / "report.png")


def edges_of(page: Page, selector: str) -> tuple[int, int, int, int]:
    """Return where a part of the page stands in its whole picture."""
    box = page.value(f"document.querySelector('{selector}').getBoundingClientRect().toJSON()")
    top = box["y"] + page.value("scrollY")
    edges = (box["x"] - EDGE, top - EDGE, box["right"] + EDGE, top + box["height"] + 2)
    left, upper, right, lower = (round(edge) for edge in edges)
    return left, upper, right, lower


def printed(page: Page, source: Path, folder: Path) -> None:
    """Picture the first pages as they come from a printer."""
    import pypdfium2

    page.screen(1280, 900, "dark")
    page.open(source)
    document = pypdfium2.PdfDocument(page.pdf())
    count = min(PAGES, len(document))
    pages = [document[n].render(scale=0.68).to_pil() for n in range(count)]
    print(f"{len(document)} printed pages")
    save(sheet(pages, 5, 190), folder / "report-print.png")


def main() -> None:
    """Write the report of a study, and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    path = browser_path()
    if path is None:
        sys.exit("No Chromium or Chrome is installed.")
    with tempfile.TemporaryDirectory() as kept:
        source = report(asked.study, Path(kept) / "report.html").out
        with browser(path, Path(kept) / "profile") as page:
            screens(page, source, asked.folder)
            crops(page, source, asked.folder)
            printed(page, source, asked.folder)


if __name__ == "__main__":
    main()
