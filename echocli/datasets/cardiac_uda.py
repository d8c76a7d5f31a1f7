"""CardiacUDA: 992 loops of about 100 patients from two hospitals, in four views.

Layout: ``Site_{G,R}_<n>/<patient>-<view>_image.nii.gz`` and ``..._label.nii.gz``, and
``label_all_frame`` with loops of which every frame is outlined. The meaning of a label depends
on the view: in the four-chamber view 1 is LV, 2 LA, 3 RA, 4 RV. Right-sided structures are not
kept. Times and scale are not told. The authors split loops 8:1:1 and publish no list.

Source:
    Yang et al., ICCV 2023 (GraphEcho), and its published code and data page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from echocli.datasets import _site_volumes
from echocli.datasets._site_volumes import IMAGE, images_of
from echocli.datasets.base import DatasetItem
from echocli.intake.loop import CineLoop

VIEWS = {1: "PLAX", 2: "PALA", 3: "PSAX", 4: "A4C"}
"""Left ventricle in the long axis, pulmonary artery, short axis, four chambers."""
CODES = {1: {1: 1}, 2: {}, 3: {1: 1}, 4: {1: 1, 2: 3}}
"""Our structures by view; the right heart and the pulmonary artery are none of them."""
EVERY_FRAME = "label_all_frame"

RULE = None
EXPECTED = {"clips": 992}


def recognise(folder: Path) -> bool:
    """Return whether a site's folder with loops lies in it."""
    return any(next(site.glob(f"*{IMAGE}"), None) for site in _sites(folder))


def _sites(folder: Path) -> list[Path]:
    return sorted(folder.glob("Site_[GR]_*"))


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return "by echocli's hash of the patient: the authors publish no list"


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the loops, those outlined in every frame first.

    Patients of the two hospitals who have the same name count as one: that may join strangers,
    and parts nobody.
    """
    row = 0
    for site in (folder / EVERY_FRAME, *_sites(folder)):
        letter = re.match(r"Site_([GR])", site.name)
        for path in images_of(site):
            row += 1
            name = re.fullmatch(r"(.+)-([1-4])", path.name.removesuffix(IMAGE))
            view = int(name[2]) if name else 0
            yield DatasetItem(
                path=path,
                reader=read,
                row=row,
                facts={"view": view},
                labels={
                    "dataset": "cardiac_uda",
                    "view": VIEWS.get(view),
                    "centre": letter[1] if letter else None,
                },
                patient=name[1] if name else path.name.removesuffix(IMAGE),
            )


def read(path: Path, view: int) -> CineLoop:
    """Read one loop.

    Args:
        path: The loop.
        view: Its number, 1 to 4, on which the meaning of the labels depends.
    """
    return _site_volumes.read(path, CODES.get(view, {}))
