"""Batch, learning rate and recomputation, where they are left to the memory of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from echocli.api._pretrain.auto import BATCH, RECOMPUTE
from echocli.api._pretrain.memory import Room, tidy_sizes, with_batch
from echocli.api._pretrain.settings import Settings, Wanted
from echocli.config import Resolved
from echocli.console import Reporter

MOST_TIMES = 4
"""An automatic batch is at most so many times the recipe's own: with it the learning rate grows
away from what was tried."""
RATES = ("lr", "start_lr", "min_lr")
MEMORY = "memory"
"""Source of what was decided here."""


def settle(
    wanted: Wanted, room: Room, kept: Mapping[str, Any] | None, reporter: Reporter
) -> Resolved[Settings]:
    """Return settings without anything automatic, and say what was decided.

    Args:
        wanted: As they were asked for.
        room: What the run is to fit into.
        kept: Settings of the run if it was begun before: they hold on any machine.
        reporter: Who is told.
    """
    settings, sources = wanted.value, dict(wanted.sources)
    if not len(room.clips):
        return wanted  # who reads them says so
    if kept is not None:
        recompute = bool(kept.get("encoder", {}).get("recompute", False))
        batch = int(kept["optim"]["batch"])
    else:
        recompute, batch = _decide(wanted, room)
    if RECOMPUTE in wanted.automatic and recompute:
        settings = with_recompute(settings, recompute)
        sources[RECOMPUTE] = MEMORY
    if BATCH in wanted.automatic:
        before, settings = settings, scaled(with_batch(settings, batch), wanted)
        sources[BATCH] = MEMORY
        sources |= {
            f"optim.{name}": f"{sources.get(f'optim.{name}', 'default')}, times the batch's"
            for name in RATES
            if getattr(settings.optim, name) != getattr(before.optim, name)
        }
    if kept is None:
        _tell(wanted, settings, room, reporter)
    return Resolved(settings, sources)


def with_recompute(settings: Settings, recompute: bool) -> Settings:
    """Return settings by which blocks are computed twice, or not."""
    return replace(settings, encoder=replace(settings.encoder, recompute=recompute))


def scaled(settings: Settings, wanted: Wanted) -> Settings:
    """Return settings whose learning rates have grown like the batch.

    Those that somebody set apart from a batch stay.

    Source:
        The linear rule of Goyal et al. 2017 (arXiv 1706.02677), section 2.1; VideoMAE's code
        scales the rates of warm-up and end too.
    """
    times = settings.optim.batch / wanted.value.optim.batch
    together = (None, wanted.sources.get(BATCH))
    sources = {name: wanted.sources.get(f"optim.{name}") for name in RATES}
    recipe = {
        name: getattr(settings.optim, name) * times
        for name, source in sources.items()
        if source in together or source.startswith("preset ")
    }
    return replace(settings, optim=replace(settings.optim, **recipe))


def _decide(wanted: Wanted, room: Room) -> tuple[bool, int]:
    """Return whether blocks are computed twice, and how many clips make a step.

    Blocks are computed twice rather than fewer clips than the recipe's taken, never to take
    more.
    """
    once = wanted.value
    own = once.optim.batch
    free = RECOMPUTE in wanted.automatic
    if BATCH not in wanted.automatic:
        return free and not room.fits(once), own
    pieces = room.ranks.size * once.optim.parts
    most = max(own, min(MOST_TIMES * own, len(room.clips)))
    batch = room.largest_batch(once, most)
    enough = max(tidy_sizes(pieces, own), default=pieces)
    if batch >= enough or not free:
        return False, max(batch, pieces)
    twice = with_recompute(once, recompute=True)
    return True, max(room.largest_batch(twice, enough), pieces)


def _tell(wanted: Wanted, settings: Settings, room: Room, reporter: Reporter) -> None:
    own, optim = wanted.value.optim, settings.optim
    free = f"{(room.free or 0) / 1e9:.1f} GB are free"
    if BATCH in wanted.automatic:
        rate = f"the learning rate goes from {own.lr:g} to {optim.lr:g} with it"
        if own.lr == optim.lr:
            rate = f"the learning rate stays {own.lr:g}"
        reporter.say(
            f"batch {optim.batch} instead of the recipe's {own.batch} ({free}); {rate}"
        )
    if settings.encoder.recompute and not wanted.value.encoder.recompute:
        needed = room.needed(wanted.value).total
        reporter.say(
            f"blocks are computed twice to save memory (encoder.recompute): a step would need "
            f"{needed / 1e9:.1f} GB, {free}"
        )
    if not room.fits(settings):
        reporter.warn(too_large(settings, room))


def too_large(settings: Settings, room: Room) -> str:
    """Say that a run does not fit, and which nearest settings would."""
    needed, free = room.needed(settings).total / 1e9, (room.free or 0) / 1e9
    batch, pieces = settings.optim.batch, room.ranks.size
    ways = []
    if not settings.encoder.recompute and room.fits(with_recompute(settings, recompute=True)):
        ways.append("--set encoder.recompute=true")
    largest = room.largest_batch(settings, batch)
    parts = next((n for n in range(2, batch + 1) if _fits_in_parts(settings, room, n)), None)
    if parts:
        ways.append(f"--set optim.parts={parts}")
    if largest:
        ways.append(f"--set optim.batch={largest}")
    way = " or ".join(ways) or f"a smaller preset, not even {pieces} clip(s) a step do"
    return f"A step needs about {needed:.1f} GB, {free:.1f} GB are free. What fits: {way}."


def _fits_in_parts(settings: Settings, room: Room, parts: int) -> bool:
    if settings.optim.batch % (parts * room.ranks.size):
        return False
    return room.fits(replace(settings, optim=replace(settings.optim, parts=parts)))
