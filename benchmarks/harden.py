"""Disturbs every command that writes, in every way, and shows that nothing is ever lost.

    python benchmarks/harden.py [NAME...] [--kills 40] [--seed 0]

Of each command (see ``tests/hard_study.py``; ``NAME`` chooses some): kill -9 just before a
change of the disk (all of them, or so many drawn by the seed), kill -9 in the midst of a file,
a file system that is full, a limit of file size, a folder that may not be written, a second
process at the same time, a clock that runs backwards, a name of 255 bytes, a longer one, and
one that is no UTF-8. After each, ``verify`` must pass or tell, the same command must finish the
work, and the result must be that of an undisturbed command, byte for byte. Ends with 1 if one
case fails. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from forked import forks
from hard_study import HEADS, LOADED, WRITERS, HardStudy

SIZES = (100, 1_000, 3_000, 10_000)
"""Bytes beyond which no file may grow."""
Case = tuple[str, str]
"""What was done, and what is wrong; nothing if all is well."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=[], choices=[[], *WRITERS])
    parser.add_argument("--kills", type=int, default=40, help="changes of the disk a command")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started, failed = time.process_time(), 0
    with tempfile.TemporaryDirectory() as name, forks(Path(name), *LOADED) as run:
        chosen = options.names or [*WRITERS]
        study = HardStudy(run, Path(name), heads_of(chosen))
        for command in chosen:
            counts: Counter[str] = Counter()
            for what, wrong in cases(study, command, options):
                counts[what] += 1
                if wrong:
                    failed += 1
                    print(f"FAILED {command}, {what}: {wrong}", flush=True)
            told = ", ".join(f"{count} {what}" for what, count in counts.items())
            print(f"{command}: {told}", flush=True)
    children = os.times()
    seconds = time.process_time() - started + children.children_user + children.children_system
    print(f"{failed} failed, seed {options.seed}, {seconds:.0f} s of processor time")
    return 1 if failed else 0


def heads_of(names: list[str]) -> list[str]:
    """Return the heads that some commands read."""
    reading = [WRITERS[name].words for name in names if name not in HEADS]
    everything = any(words[0] == "report" for words in reading)
    return [
        head
        for head in HEADS
        if everything or any(head.split()[0] in words for words in reading)
    ]


def cases(study: HardStudy, name: str, options: argparse.Namespace) -> Iterator[Case]:
    """Yield what was done to a command, and what came of it."""
    dice = random.Random(options.seed)
    changes = range(1, study.changes(name) + 1)
    for number in dice.sample(changes, min(options.kills, len(changes))):
        yield "killed at a change", study.killed(name, number)
    for size in SIZES:
        yield "killed in a file", study.killed_in_file(name, size)
        yield "limit of size", study.limited(name, size)
    single: dict[str, Callable[[HardStudy, str], str]] = {
        "full disk": HardStudy.full,
        "read-only": HardStudy.locked_out,
        "two at once": HardStudy.rivals,
        "clock backwards": HardStudy.backwards,
        "255 bytes": HardStudy.longest,
        "300 bytes": HardStudy.too_long,
        "no UTF-8": HardStudy.strange,
    }
    for what, disturb in single.items():
        yield what, disturb(study, name)


if __name__ == "__main__":
    sys.exit(main())
