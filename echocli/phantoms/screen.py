"""The scanner's screen around the sector: name and date burned in, ECG, ruler, grey bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from echocli.phantoms.ecg import Box, EcgStyle, draw_ecg
from echocli.phantoms.identity import clock, written
from echocli.phantoms.patient import Patient, PhantomLoop, render

TEXT_GREY = (205, 205, 210)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What is shown, where the scan and the trace lie, and the truth in screen pixels."""

    frames: NDArray[np.uint8]
    """``(frames, height, width, 3)``, RGB."""
    scan: Box
    trace: Box
    trace_seconds: float
    """What the trace's width stands for; 0 without an ECG."""
    loop: PhantomLoop
    """The loop alone, as drawn into the scan's box."""

    def place(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Put pictures of the scan's box, such as masks, into empty screens."""
        out = np.zeros((len(pictures), *self.frames.shape[1:3]), pictures.dtype)
        out[:, self.scan.y0 : self.scan.y1 + 1, self.scan.x0 : self.scan.x1 + 1] = pictures
        return out


def draw_screen(
    patient: Patient,
    *,
    view: str | None = None,
    height: int = 300,
    width: int = 400,
    ecg: EcgStyle = "strip",
) -> Screen:
    """Take a loop and show it as a scanner does.

    Args:
        patient: Who is scanned, and whose name is burned in.
        view: A4C or A2C; the patient's own by default.
        height: Rows of the screen.
        width: Columns of the screen.
        ecg: How the ECG moves, or ``none``.
    """
    scan = Box(
        x0=round(0.09 * width),
        y0=round(0.11 * height),
        x1=round(0.91 * width),
        y1=round(0.85 * height),
    )
    trace = Box(
        x0=round(0.06 * width),
        y0=round(0.875 * height),
        x1=round(0.8 * width),
        y1=round(0.985 * height),
    )
    chosen = patient.view if view is None else "A4C" if view == "A4C" else "A2C"
    loop = render(
        patient,
        view=chosen,
        height=scan.y1 - scan.y0 + 1,
        width=scan.x1 - scan.x0 + 1,
        every_mask=False,
    )
    still = _furniture(patient, loop, scan, height, width)
    frames = np.repeat(still[None], len(loop.frames), axis=0)
    inside = frames[:, scan.y0 : scan.y1 + 1, scan.x0 : scan.x1 + 1]
    inside[:, loop.sector] = loop.frames[:, loop.sector][..., None]
    seconds = draw_ecg(frames, loop.times_s, loop.r_peaks_s, trace, ecg)
    return Screen(frames=frames, scan=scan, trace=trace, trace_seconds=seconds, loop=loop)


def _furniture(
    patient: Patient, loop: PhantomLoop, scan: Box, height: int, width: int
) -> NDArray[np.uint8]:
    """Draw what stands still: texts, depth ruler, grey bar, probe mark."""
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(9, round(height / 33)))
    line = font.size * 1.15 if isinstance(font, ImageFont.FreeTypeFont) else 12.0
    who, shot = patient.identity, patient.scanner
    texts = (f"{who.family}, {who.given}", f"ID {who.patient_id}")
    for row, text in enumerate(texts):
        draw.text((4, 3 + row * line), text, TEXT_GREY, font)
    when = (written(who.study_date), clock(who.study_time), who.institution)
    for row, text in enumerate(when):
        draw.text((width - 4, 3 + row * line), text, TEXT_GREY, font, anchor="ra")
    facts = (
        f"{shot.frame_rate_hz:.0f} fps",
        f"{shot.depth_mm / 10:.1f} cm",
        f"{patient.rhythm.rate_bpm:.0f} bpm",
        f"Adult {loop.view}",
    )
    for row, text in enumerate(facts):
        draw.text((4, 0.45 * height + row * line), text, (120, 190, 210), font)
    right = width - 8
    rows = np.flatnonzero(loop.sector.any(1))
    for mark in range(0, int(shot.depth_mm / 10) + 1):
        y = scan.y0 + rows[0] + mark * 10 / loop.spacing_mm[0]
        if y < scan.y1:
            long = mark % 5 == 0
            draw.line((right - (6 if long else 3), y, right, y), (150, 170, 90))
            if long and mark:
                draw.text((right - 8, y), str(mark), (150, 170, 90), font, anchor="rm")
    for step in range(64):
        y = 0.2 * height + step * 0.2 * height / 64
        draw.rectangle((width - 40, y, width - 34, y + 2), (252 - 4 * step,) * 3)
    middle = (scan.x0 + scan.x1) / 2 + 14
    draw.polygon(
        [(middle, scan.y0 - 8), (middle + 6, scan.y0 - 8), (middle + 3, scan.y0 - 2)],
        (210, 220, 60),
    )
    return np.array(image)
