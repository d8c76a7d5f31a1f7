"""What a frozen encoder loses on loops shorter than its window, as CAMUS' half beats are.

The same labelled frames (end-diastole and end-systole of one beat) of the same phantoms, four
times: in loops of one to three beats; in the half beat between them, of which the encoder sees
the tubelets that are filled; the same with every frame of the half beat labelled, as in CAMUS'
newer layout; and as stills that are repeated through a window. Linear heads, judged on the same
frames of test patients.

    python benchmarks/half_beats.py --model runs/mine       # an encoder of yours, at 64 pixels
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from echocli.api import segment
from echocli.checkpoint import load_model
from echocli.clips.record import Clip
from echocli.clips.writer import ClipSetWriter
from echocli.datasets.phantom import clip_of
from echocli.phantoms.patient import Patient, PhantomConfig, draw_patient, render

POPULATION = 53
CONFIG = PhantomConfig(size=64, seconds=(1.3, 2.5))


def ends_of_a_beat(patient: Patient) -> tuple[int, int] | None:
    """Return the frames of the first end-diastole and of the end-systole that follows it."""
    times = patient.scanner.times_s()
    loop = render(patient, height=16, width=16, every_mask=False)
    peaks = [peak for peak in loop.r_peaks_s if times[0] <= peak <= times[-1]]
    if len(peaks) < 2:
        return None
    first, second = (int(np.abs(times - peak).argmin()) for peak in peaks[:2])
    return first, first + int(loop.volumes_ml[first:second].argmin())


def whole_loops(count: int) -> Iterator[Clip]:
    """Yield loops that hold a whole beat, every frame of its first half labelled."""
    for index in range(count):
        patient = draw_patient(POPULATION, index, CONFIG)
        ends = ends_of_a_beat(patient)
        if ends is None:
            continue
        one = clip_of(patient, CONFIG.size)
        side = 2 * CONFIG.size
        masks = render(patient, height=side, width=side).masks[:, 1::2, 1::2] * one.sector
        between = range(ends[0], ends[1] + 1)
        labels = {**one.labels, "ed_frame": ends[0], "es_frame": ends[1]}
        yield replace(one, labels=labels, masks=masks[between], mask_frames=tuple(between))


def ends_only(clip: Clip) -> Clip:
    """Return a clip with the masks of end-diastole and end-systole alone."""
    assert clip.masks is not None
    ends = [0, len(clip.masks) - 1]
    return replace(
        clip, masks=clip.masks[ends], mask_frames=tuple(clip.mask_frames[i] for i in ends)
    )


def half_beat(clip: Clip) -> Clip:
    """Return the labelled half beat alone."""
    assert clip.times_s is not None
    between = list(clip.mask_frames)
    last = len(between) - 1
    return replace(
        clip,
        frames=clip.frames[between],
        times_s=clip.times_s[between] - clip.times_s[between[0]],
        labels={**clip.labels, "ed_frame": 0, "es_frame": last},
        mask_frames=tuple(range(last + 1)),
    )


def stills(clip: Clip, frames: int, step_s: float) -> Iterator[Clip]:
    """Yield each labelled frame of a half beat, repeated through a window."""
    ends = half_beat(ends_only(clip))
    assert ends.masks is not None
    for number, (frame, mask) in enumerate(zip(ends.mask_frames, ends.masks, strict=True)):
        yield replace(
            ends,
            clip_id=f"{clip.clip_id}-{number}",
            frames=np.repeat(ends.frames[[frame]], frames, axis=0),
            times_s=np.arange(frames) * step_s,
            labels={**clip.labels, "ed_frame": None, "es_frame": None},
            masks=mask[None],
            mask_frames=(frames // 2,),
        )


def write(folder: Path, clips: Iterable[Clip]) -> None:
    """Write a clip set."""
    with ClipSetWriter(folder) as writer:
        for clip in clips:
            writer.add(clip)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=80)
    parser.add_argument("--only", nargs="*", help="some ways, such as: stills")
    options = parser.parse_args()
    data = load_model(options.model).data
    assert data.seconds is not None, "the encoder's windows are in seconds"
    clips = list(whole_loops(options.patients))
    ways = {
        "whole loops": [ends_only(clip) for clip in clips],
        "half beats": [ends_only(half_beat(clip)) for clip in clips],
        "half beats, all frames labelled": [half_beat(clip) for clip in clips],
        "stills": [
            one for c in clips for one in stills(c, data.frames, data.seconds / data.frames)
        ],
    }
    lengths = [clip.times_s[-1] for clip in ways["half beats"] if clip.times_s is not None]
    print(f"{len(clips)} phantoms; half beats of {min(lengths):.2f} to {max(lengths):.2f} s")
    print("| seen | cavity | muscle | atrium | frames |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for way, found in ways.items():
            if options.only and way not in options.only:
                continue
            folder = Path(name) / way.replace(" ", "-").replace(",", "")
            write(folder / "clips", found)
            segment.fit(folder / "clips", options.model, folder / "head")
            judged = folder / "clips"
            if "all" in way:  # on the same frames as the others
                judged = folder / "ends"
                write(judged, ways["half beats"])
            summary = segment.evaluate(judged, folder / "head").summary
            cells = [
                f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
                for structure, value in summary["metrics"]["dice"].items()
                if structure in ("lv_cavity", "lv_myocardium", "left_atrium")
            ]
            print(f"| {way} | {' | '.join(cells)} | {summary['test']['frames']} |", flush=True)


if __name__ == "__main__":
    main()
