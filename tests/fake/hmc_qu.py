"""HMC-QU: workbooks, names written in several ways, outlines of the wall for one cycle."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import scipy.io
from fake.parts import Fake, loop, write_avi

SEGMENTS = [f"SEG{number}" for number in (1, 2, 3, 5, 6, 7)]
A4C = (("ES0001 _4CH_1", 2, True), ("ES000121_4CH_1", 1, False), ("ES00051 N_4CH_2", 0, True))
A2C = (("ES0001_CH2_1", 0, False), ("ES000121_2CH_1", 0, False), ("ES00077 N_2CH_1", 0, False))
SIZE = (144, 192)
CYCLE = (3, 14)
"""First and last outlined frame, from 1."""


def write(folder: Path) -> Fake:
    root = folder / "HMC-QU dataset"
    number = 120
    for view, videos in (("A4C", A4C), ("A2C", A2C)):
        header = ["ECHO", *SEGMENTS]
        header += ["Reference Frame", "End of Cycle", "LV Wall Ground-truth"] * (view == "A4C")
        rows: list[list[object]] = [header]
        for name, ill, outlined in videos:
            number += 1
            frames, masks = loop(number, *SIZE)
            write_avi(root / "HMC-QU" / view / f"{name}.avi", frames, 25)
            row: list[object] = [name, *["MI"] * ill, *["non-MI"] * (6 - ill)]
            rows.append(row)
            if view == "A4C":
                row += [*CYCLE, "\u00fc"] if outlined else ["", "", ""]
            if outlined:
                _write_walls(root, name, masks)
        write_xlsx(root / f"{view}.xlsx", rows)
    return Fake(
        root,
        clips=6,
        patients=4,
        normal={1: False, 2: False, 3: True, 4: False, 5: False, 6: True},
    )


def _write_walls(root: Path, name: str, masks: np.ndarray) -> None:  # type: ignore[type-arg]
    rows = (np.arange(224) + 0.5) * SIZE[0] / 224
    columns = (np.arange(224) + 0.5) * SIZE[1] / 224
    small = masks[CYCLE[0] - 1 : CYCLE[1], rows.astype(int)][:, :, columns.astype(int)]
    path = root / "LV Ground-truth Segmentation Masks" / f"Mask_{name}.mat"
    path.parent.mkdir(exist_ok=True)
    scipy.io.savemat(path, {"predicted": (small == 2).astype(np.uint8)})


def write_xlsx(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write the least workbook that spreadsheets open: texts are shared, blanks left out."""
    texts: list[str] = []
    body = ""
    for line, row in enumerate(rows, start=1):
        cells = ""
        for place, value in enumerate(row):
            where = f"{chr(65 + place)}{line}"
            if isinstance(value, int):
                cells += f'<c r="{where}"><v>{value}</v></c>'
            elif value:
                cells += f'<c r="{where}" t="s"><v>{len(texts)}</v></c>'
                texts.append(f'<si><t xml:space="preserve">{escape(str(value))}</t></si>')
        body += f'<row r="{line}">{cells}</row>'
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    with zipfile.ZipFile(path, "w") as book:
        sheet = f"<worksheet {main}><sheetData>{body}</sheetData></worksheet>"
        book.writestr("xl/worksheets/sheet1.xml", sheet)
        book.writestr("xl/sharedStrings.xml", f"<sst {main}>{''.join(texts)}</sst>")
