"""Tells the time of each column of an ECG from how its picture moves.

Two ways are known. A *front* runs over the strip from left to right: a cursor over a standing
trace, or the pen of a sweep; a column belongs to the instant at which the front passed it. Or
the whole trace *scrolls* to the left, and its newest sample stands at the right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.ecg import Trace

Floats = NDArray[np.float64]

SEEN = 0.7
"""Share of the frames in which the front must be found."""
BACK = 0.3
"""A front that falls back by this share of the strip starts anew."""
STRAYS = 2.5
"""Columns by which nine of ten fronts may stray from a steady run."""
LEAST_RUN = 20
"""Columns that the front must run over at least."""
SPREAD = 0.12
"""Share of the strip that a pen draws in one frame, at most."""
LINES, BIN = 60, 4
"""Speeds that a pen is tried at, and columns by which it may stray from a steady run."""
CROWDED = 0.1
"""Share of the columns that are fresh in a frame, from which on all of the trace is moving."""
AGREES = 0.1
"""The speed may differ from the header's by this share."""
SPEEDS = 160
"""Speeds that a scroll is tried at, from one column a frame to a quarter of the strip."""
CLEARER = 0.35
"""At its true speed, a scroll leaves this share of the usual mismatch, at most."""
MOVING = 0.1
"""Rows by which a moving trace differs from itself a few frames later, in the mean."""
SPECK = 5
"""What is shorter than this in columns and in rows is no piece of a trace."""
WIDEST_GAP_S = 0.08
"""Seconds without a trace that are bridged: less than a QRS complex lasts."""


@dataclass(frozen=True)
class Track:
    """An ECG against time."""

    start_s: float
    """Time of the first sample from the first frame; negative where the screen shows more."""
    step_s: float
    up: Floats
    """Height of the trace's upper side above its usual level, in pixels."""
    down: Floats
    """Depth of its lower side below that level."""


def track_of(trace: Trace, times_s: Floats, seconds_per_column: float | None) -> Track | None:
    """Return the trace against time, or ``None`` if its movement does not tell it.

    Args:
        trace: What is drawn in the strip.
        times_s: When each frame was taken.
        seconds_per_column: As the header tells it; a speed that contradicts it is not believed.
    """
    for read in (_behind_front, _scrolled):
        track = read(trace, times_s)
        if track is not None:
            told = 1.0 if seconds_per_column is None else track.step_s / seconds_per_column
            return track if abs(told - 1) <= AGREES else None
    return None


def _behind_front(trace: Trace, times_s: Floats) -> Track | None:
    front = _bar_positions(trace)
    if front is None:
        front = _pen_positions(trace, times_s)
    run = None if front is None else _steady_run(front, times_s, trace.top.shape[1])
    if front is None or run is None:
        return None
    speed, starts = run
    times, frames, columns = [], [], []
    for start in np.unique(starts):
        inside = np.flatnonzero(starts == start)
        reached = np.fmax.accumulate(front[inside])
        # The first run found a trace there; the others wrote over that of the one before.
        begin = 0 if start == starts[0] else max(int(reached[0] - WIDEST_GAP_S * speed), 0)
        passed = np.arange(begin, int(reached[-1]))
        # A column is read in the first frame in which the front has left it behind.
        frame = np.searchsorted(reached, passed + 1.0, side="right")
        passed, frame = passed[frame < len(inside)], frame[frame < len(inside)]
        times.append((passed - start) / speed)
        frames.append(inside[frame])
        columns.append(passed)
    at = np.concatenate(times)
    return _track(trace, at, np.concatenate(frames), np.concatenate(columns), 1 / speed)


def _bar_positions(trace: Trace) -> Floats | None:
    """Return the left side of the bar in each frame, nan where there is none."""
    standing = trace.bar.mean(axis=0) > 0.5
    bar = trace.bar & ~standing
    seen = bar.any(axis=1)
    if seen.mean() < SEEN:
        return None
    # A pen is just left of its bar, a cursor begins at its left side: half a column off.
    return np.where(seen, bar.argmax(axis=1) - 0.5, np.nan)


def _pen_positions(trace: Trace, times_s: Floats) -> Floats | None:
    """Return up to where the trace was drawn in each frame, nan where that is unclear.

    What is freshly lit and stays so may be the trace or tissue; the trace advances steadily, so
    that a straight line in columns against time goes through most of it. After the pen has
    started anew, a second line does.
    """
    before, now, after = trace.lit[:-2], trace.lit[1:-1], trace.lit[2:]
    frames, columns = np.nonzero((now & after & ~before).any(axis=1))
    if len(frames) > CROWDED * trace.top.size:
        return None
    frames = frames + 1
    positions = np.full(len(trace.lit), np.nan)
    width = trace.lit.shape[2]
    for _ in range(2):
        free = np.isnan(positions[frames])
        line = _best_line(frames[free], columns[free], times_s, width)
        if line is None:
            break
        speed, start = line
        ahead = columns[free] - (start + speed * times_s[frames[free]])
        near = np.abs(ahead) <= speed * float(np.median(np.diff(times_s))) + STRAYS
        for frame, column in zip(frames[free][near], columns[free][near], strict=True):
            positions[frame] = np.fmax(positions[frame], column + 1.0)
    return positions if np.isfinite(positions[1:-1]).mean() >= SEEN else None


def _best_line(
    frames: NDArray[np.int64], columns: NDArray[np.int64], times_s: Floats, width: int
) -> tuple[float, float] | None:
    """Return the speed and start of the line that meets the most frames."""
    if len(frames) < 8:
        return None
    lasted = float(np.median(np.diff(times_s)))
    best, found = 0, None
    for speed in np.linspace(1.0, SPREAD * width, LINES) / lasted:
        bins = np.floor((columns - speed * times_s[frames]) / BIN).astype(np.int64)
        pairs = np.unique(np.stack([bins, frames]), axis=1)[0]
        values, counts = np.unique(pairs, return_counts=True)
        most = int(counts.argmax())
        if counts[most] > best:
            best, found = int(counts[most]), (float(speed), float((values[most] + 0.5) * BIN))
    return found if best >= 8 else None


def _steady_run(
    front: Floats, times_s: Floats, width: int
) -> tuple[float, NDArray[np.float64]] | None:
    """Return the front's speed in columns a second, and where each frame's run started.

    The start is the column at which the run would have been at the first frame: all frames
    between two jumps back share one.
    """
    known = np.flatnonzero(np.isfinite(front))
    steps = np.diff(front[known])
    jumps = steps < -BACK * width
    if len(known) < 8 or jumps.mean() > 0.2:
        return None
    lasted = np.diff(times_s[known])
    speed = float(np.median(steps[~jumps] / lasted[~jumps]))
    if speed <= 0:
        return None
    run = np.concatenate([[0], np.cumsum(jumps)])
    for _ in range(2):
        offsets = front[known] - speed * times_s[known]
        middles = np.array([np.median(offsets[run == r]) for r in range(run[-1] + 1)])
        centred = (
            times_s[known]
            - np.array([times_s[known][run == r].mean() for r in range(run[-1] + 1)])[run]
        )
        speed += float((centred * (offsets - middles[run])).sum() / (centred**2).sum())
    strays = np.abs(front[known] - speed * times_s[known] - middles[run])
    travelled = speed * float(times_s[known[-1]] - times_s[known[0]])
    if speed <= 0 or np.quantile(strays, 0.9) > STRAYS or travelled < LEAST_RUN:
        return None
    every = np.interp(np.arange(len(front)), known, run).round().astype(int)
    return speed, middles[every]


def _scrolled(trace: Trace, times_s: Floats) -> Track | None:
    top = np.where(np.isfinite(trace.top), trace.top, np.nanmedian(trace.top))
    drawn = np.flatnonzero(np.isfinite(trace.top).mean(axis=0) > 0.8)
    if len(drawn) < LEAST_RUN:
        return None
    newest = int(drawn[-1])
    speed = _scroll_speed(top[:, drawn[0] : newest + 1], times_s)
    if speed is None:
        return None
    step = 1 / speed
    oldest = float(times_s[0]) - (newest - drawn[0]) * step
    times = np.arange(oldest, float(times_s[-1]), step)
    frame = np.searchsorted(times_s, times + step)
    kept = frame < len(times_s)
    times, frame = times[kept], frame[kept]
    column = np.rint(newest - (times_s[frame] - times) * speed).astype(int)
    inside = column >= drawn[0]
    return _track(trace, times[inside], frame[inside], column[inside], step)


def _scroll_speed(top: Floats, times_s: Floats) -> float | None:
    """Return the speed in columns a second at which earlier frames, moved, match later ones."""
    frames, width = top.shape
    lasted = float(np.median(np.diff(times_s)))
    pairs = [
        (first, first + apart)
        for apart in (1, 3, 8)
        for first in np.linspace(0, frames - 1 - apart, 5).astype(int)
        if frames > apart
    ]

    def mismatch(speed: float) -> float:
        total = []
        for first, second in pairs:
            shift = round(speed * float(times_s[second] - times_s[first]))
            if shift < width // 2:
                total.append(np.abs(top[second, : width - shift] - top[first, shift:]).mean())
        return float(np.mean(total))

    speeds = np.linspace(1.0, 0.25 * width, SPEEDS) / lasted
    costs = np.array([mismatch(speed) for speed in speeds])
    best = int(costs.argmin())
    fine = np.linspace(speeds[max(best - 1, 0)], speeds[min(best + 1, SPEEDS - 1)], 41)
    cost, speed = min((mismatch(value), float(value)) for value in fine)
    standing = mismatch(0.0)
    usual = min(float(np.median(costs)), standing)
    return speed if usual > MOVING and cost <= CLEARER * usual else None


def _track(
    trace: Trace,
    times_s: Floats,
    frames: NDArray[np.int64],
    columns: NDArray[np.int64],
    step_s: float,
) -> Track | None:
    """Put columns of several frames side by side, and read the line that they draw.

    Returns:
        ``None`` if there is a gap in the line.
    """
    order = np.argsort(times_s, kind="stable")
    times_s = times_s[order]
    drawing = _line_alone(trace.lit[frames[order], :, columns[order]].T, trace)
    drawn = drawing.any(axis=0)
    if drawn.sum() < LEAST_RUN:
        return None
    times, height = times_s[drawn], len(drawing)
    if np.diff(times).max() > WIDEST_GAP_S:
        return None
    top = drawing.argmax(axis=0)[drawn]
    bottom = height - 1 - drawing[::-1].argmax(axis=0)[drawn]
    grid = np.arange(times[0], times[-1], step_s)
    over, under = (np.interp(grid, times, side) for side in (top, bottom))
    return Track(float(times[0]), step_s, np.median(over) - over, under - np.median(under))


def _line_alone(drawing: NDArray[np.bool_], trace: Trace) -> NDArray[np.bool_]:
    """Remove what is no part of the line.

    That is what reaches in from outside, specks such as the marks of a ruler, and what lies
    above or below a longer piece: a line passes each column once.
    """
    pieces, _ = ndimage.label(drawing, np.ones((3, 3)))
    boxes = list(enumerate(ndimage.find_objects(pieces), start=1))
    covered = np.zeros(drawing.shape[1], dtype=bool)
    line = np.zeros_like(drawing)
    for number, (rows, columns) in sorted(boxes, key=lambda box: -_length(box[1][1])):
        outside = (trace.cut_above and rows.start == 0) or (
            trace.cut_below and rows.stop == len(drawing)
        )
        longest = max(_length(rows), _length(columns))
        if outside or longest < SPECK or covered[columns].mean() > 0.5:
            continue
        line |= pieces == number
        covered[columns] = True
    return line


def _length(side: slice) -> int:
    return int(side.stop - side.start)
