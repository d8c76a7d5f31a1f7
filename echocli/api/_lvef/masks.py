"""The ejection fraction of studies from masks: views together where there is more than one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._segment.measures import (
    PLAUSIBLE_EF,
    VolumeCurve,
    volume_curve,
    volume_row,
)
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.errors import EchoError
from echocli.statistics.biplane import (
    Discs,
    area_length_volumes,
    biplane_volumes,
    discs_of,
)
from echocli.statistics.volumes import (
    ATRIUM,
    CUBIC_MM_A_ML,
    ejection_fraction_percent,
    end_frames,
    foreshortened,
    main_cavity,
    slant_degrees,
    smooth_curve,
)

PLANES = ("A4C", "A2C")
"""Views of which two make a biplane volume, the more usual one first."""
SHORT_AXIS = "PSAX"
"""View whose area makes a volume with the length of an apical one."""
UNKNOWN = "unknown"
MOST_SLANT = 6.0
"""Degrees; a more slanted base errs by over 10 ml (2022, Ultrasound in Medicine and Biology,
10.1016/j.ultrasmedbio.2022.07.013)."""
BOTH, SINGLE = "biplane", "single plane"
NO_VIEW = f"no view whose cavity is measured ({' or '.join(PLANES)})"
ALONE = "a short axis without an apical view of its study"
NO_CAVITY = "no cavity in its masks"


class Maps(NamedTuple):
    """The masks of a clip, in pixels of their own."""

    labels: NDArray[np.uint8]
    sector: NDArray[np.bool_]
    times_s: NDArray[np.float64] | None
    spacing_mm: tuple[float, float] | None
    known_ed: int | None
    frames: list[int]
    """Which frames of the clip they are of."""
    every_frame: bool


class Plane(NamedTuple):
    """What the masks of one clip say."""

    clip_id: str
    view: str
    row: dict[str, Any]
    """As ``volume_row`` has it."""
    ends: tuple[Discs, Discs]
    """Discs at end-diastole and end-systole."""
    flags: tuple[str, ...]

    @property
    def calibrated(self) -> bool:
        """Whether the size of a pixel is known."""
        return self.row["edv_ml"] is not None


class ShortAxis(NamedTuple):
    """What the masks of a clip across the ventricle say."""

    clip_id: str
    areas: tuple[float, float]
    """Of the cavity at end-diastole and end-systole; square millimetres, or pixels."""
    calibrated: bool
    """Whether the size of a pixel is known."""


def measure_studies(
    clips: ClipSet, maps: ClipSet, reporter: Reporter
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Return a row a study, and the clips that got no result.

    Args:
        clips: What is known of the clips: views, studies.
        maps: Their masks: a clip set of label maps, or one whose clips have masks.
        reporter: Watches.

    Raises:
        EchoError: If no clip has masks.
    """
    row_of = {str(name): row for row, name in enumerate(maps.manifest["clip_id"])}
    planes: dict[tuple[str, str], list[Plane]] = {}
    across: dict[tuple[str, str], list[ShortAxis]] = {}
    left_out: list[dict[str, str]] = []
    masked = 0
    with reporter.progress("measure", len(clips)) as done:
        for facts in clips.manifest.to_dict("records"):
            done(1)
            clip_id, view = str(facts["clip_id"]), facts.get("view")
            ed = None if pd.isna(facts.get("ed_frame")) else int(facts["ed_frame"])
            found = maps_of(maps, row_of[clip_id], ed) if clip_id in row_of else None
            if found is None:
                continue
            masked += 1
            view = UNKNOWN if pd.isna(view) else str(view)
            said = say(clip_id, view, found)
            key = (str(facts["patient_id"]), str(facts["study_id"]))
            if isinstance(said, str):
                left_out.append({"clip_id": clip_id, "reason": said})
            elif isinstance(said, ShortAxis):
                across.setdefault(key, []).append(said)
            else:
                planes.setdefault(key, []).append(said)
            maps.forget()
    for key in across.keys() - planes.keys():
        left_out += [{"clip_id": one.clip_id, "reason": ALONE} for one in across[key]]
    left_out.sort(key=lambda entry: entry["clip_id"])
    if not masked:
        raise EchoError(
            f"No clip in {clips.folder} has masks in {maps.folder}.",
            "Draw them with `echocli segment`, and name its folder with --from-masks.",
        )
    if not planes:
        raise EchoError(
            f"No study can be measured; the first clip because it has {left_out[0]['reason']}.",
            "Look at the masks: `echocli export --overlay`.",
        )
    rows = [
        {"study_id": key[1], "patient_id": key[0]} | study_row(planes[key], across.get(key, []))
        for key in sorted(planes)
    ]
    table = pd.DataFrame(rows)
    for name in [name for name in table if str(name).endswith("_frame")]:
        table[name] = table[name].astype("Int64")
    return table, left_out


def maps_of(maps: ClipSet, row: int, ed: int | None) -> Maps | None:
    """Return the masks of a clip, if it has any.

    Args:
        maps: A clip set of label maps, or one whose clips have masks.
        row: The clip.
        ed: Frame that a reader called end-diastole, if any.
    """
    times, manifest = maps.times_s(row), maps.manifest
    sector, count = maps.sector(row), int(manifest["frames"].iloc[row])
    if maps.kind == "masks":
        whole = np.asarray(maps.frames(row))
        spacing, every = maps.spacing_mm(row), list(range(count))
        return Maps(whole, sector, times, spacing, ed, every, every_frame=True)
    fine, frames = maps.fine_masks(row), list(maps.mask_frames(row))
    if fine is None:
        return None
    box = manifest["mask_box"].iloc[row]
    top, bottom, left, right = (
        (0, *sector.shape[:1], 0, sector.shape[1]) if box is None else box
    )
    sector = sector[top:bottom, left:right]
    rows, columns = (
        np.arange(new) * old // new
        for new, old in zip(fine.shape[1:], sector.shape, strict=True)
    )
    return Maps(
        fine,
        sector[np.ix_(rows, columns)],
        None if times is None else times[frames],
        maps.mask_spacing_mm(row),
        frames.index(ed) if ed in frames else None,
        frames,
        every_frame=len(frames) == count,
    )


def say(clip_id: str, view: str, maps: Maps) -> Plane | ShortAxis | str:
    """Return what the masks of a clip say, or why they say nothing.

    Args:
        clip_id: The clip.
        view: Its view.
        maps: Its masks.
    """
    if view == SHORT_AXIS:
        return short_axis_of(clip_id, maps)
    return plane_of(clip_id, view, maps) if view in (*PLANES, UNKNOWN) else NO_VIEW


def short_axis_of(clip_id: str, maps: Maps) -> ShortAxis | str:
    """Return the largest and the smallest area of a cavity across, or why there is none.

    Args:
        clip_id: The clip.
        maps: Its masks.
    """
    pixel = float(np.prod(maps.spacing_mm or (1.0, 1.0)))
    areas = np.array([main_cavity(frame).sum() for frame in maps.labels]) * pixel
    if not areas.any():
        return NO_CAVITY
    areas[areas == 0] = np.nan
    if maps.every_frame:
        areas = smooth_curve(areas, maps.times_s)
    ends = (float(areas[frame]) for frame in end_frames(areas))
    return ShortAxis(clip_id, (next(ends), next(ends)), maps.spacing_mm is not None)


def plane_of(clip_id: str, view: str, maps: Maps) -> Plane | str:
    """Return what the masks of a clip say, or why they say nothing.

    Args:
        clip_id: The clip.
        view: Its view.
        maps: Its masks.
    """
    curve = volume_curve(maps.labels, maps.times_s, maps.spacing_mm)
    if not maps.every_frame:  # there is nothing to smooth between frames far apart
        curve = VolumeCurve(curve.volumes, curve.volumes, curve.axes)
    row = volume_row(maps.labels, maps.sector, curve, maps.spacing_mm, maps.known_ed)
    if row["ef_percent"] is None:
        return NO_CAVITY
    spacing = maps.spacing_mm or (1.0, 1.0)
    ends = []
    for frame in (row["ed_frame"], row["es_frame"]):
        if maps.every_frame:
            ends.append(discs_of(maps.labels, curve.axes, frame, maps.times_s, spacing))
        else:
            alone = maps.labels[frame : frame + 1]
            ends.append(discs_of(alone, [curve.axes[frame]], 0, None, spacing))
    flags = tuple(flag for flag in row["flags"].split(";") if flag not in OF_STUDY)
    flags += tuple(_slant(maps, row, curve))
    named = {name: maps.frames[row[name]] for name in ("ed_frame", "es_frame")}
    return Plane(clip_id, view, row | named, (ends[0], ends[1]), flags)


OF_STUDY = ("", "single_plane", "uncalibrated")
"""Flags that a study has, not a view."""


def _slant(maps: Maps, row: dict[str, Any], curve: VolumeCurve) -> Iterator[str]:
    labels, axis = maps.labels[row["ed_frame"]], curve.axes[row["ed_frame"]]
    assert axis is not None, "end-diastole has a cavity"
    slant = slant_degrees(
        main_cavity(labels), labels == ATRIUM, axis, maps.spacing_mm or (1.0, 1.0)
    )
    if slant is not None and slant > MOST_SLANT:
        yield "base_slanted"


def study_row(planes: list[Plane], across: list[ShortAxis]) -> dict[str, Any]:
    """Return the ejection fraction of a study: biplane, area-length or by a single plane.

    Of several clips of a view the one with the fewest flags counts, then the one with the
    longest axis; of several short axes the widest.

    Args:
        planes: What each apical clip says.
        across: What each short axis says.
    """
    best = {
        view: min(
            (plane for plane in planes if plane.view == view),
            key=lambda plane: (len(plane.flags), -plane.ends[0].length, plane.clip_id),
            default=None,
        )
        for view in (*PLANES, UNKNOWN)
    }
    pair = [plane for view in PLANES if (plane := best[view]) is not None]
    used = pair or [plane for plane in best.values() if plane is not None]
    wide = max(across, key=lambda one: one.areas[0], default=None) if len(pair) == 1 else None
    calibrated = all(plane.calibrated for plane in used)
    if len(used) == len(PLANES):
        name = BOTH
        ends = biplane_volumes(used[0].ends, used[1].ends, one_scale=calibrated)
    elif wide is not None:
        name = f"area-length {used[0].view}"
        calibrated = calibrated and wide.calibrated
        ends = area_length_volumes(wide.areas, used[0].ends)
    else:
        name = f"{SINGLE} {used[0].view}"
        ends = None
    if ends is None:
        ef, volumes = used[0].row["ef_percent"], [used[0].row[n] for n in ("edv_ml", "esv_ml")]
    else:
        ef = ejection_fraction_percent(*ends)
        volumes = [volume / CUBIC_MM_A_ML if calibrated else None for volume in ends]
    row: dict[str, Any] = {"plane": name, "ef_percent": ef}
    row |= {"edv_ml": volumes[0], "esv_ml": volumes[1]}
    for view, shown in best.items():
        if view in PLANES:
            row |= _columns(view, shown)
    row["psax_clip"] = None if wide is None else wide.clip_id
    row["unknown_clip"] = None if pair else used[0].clip_id
    flags = list(_flags(used, calibrated=calibrated, single=ends is None))
    # That of a single plane is flagged with its view.
    if ends is not None and not PLAUSIBLE_EF[0] <= ef <= PLAUSIBLE_EF[1]:
        flags.append("ef_implausible")
    return {**row, "flags": ";".join(flags)}


def _columns(view: str, plane: Plane | None) -> dict[str, Any]:
    names = ("clip", "ef_percent", "length_mm", "ed_frame", "es_frame")
    values: list[Any] = [None] * len(names)
    if plane is not None:
        values = [plane.clip_id, *(plane.row[name] for name in names[1:])]
    return {f"{view.lower()}_{name}": value for name, value in zip(names, values, strict=True)}


def _flags(used: list[Plane], *, calibrated: bool, single: bool) -> Iterator[str]:
    if single:
        yield "single_plane"
    if not calibrated:
        yield "uncalibrated"
    elif foreshortened(np.array([plane.ends[0].length for plane in used])).any():
        yield "length_mismatch"
    for plane in used:
        if plane.view == UNKNOWN:
            yield "view_unknown"
        yield from (f"{plane.view}:{flag}" for flag in plane.flags)
