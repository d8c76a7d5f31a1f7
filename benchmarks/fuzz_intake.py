"""Damages files of every kind and shows what ``preprocess`` makes of each.

    python benchmarks/fuzz_intake.py [--count 2000] [--first 0] [--seed 1] [FILE...]

Every source must end as a clip or with a reason; a clip whose pixels differ from the whole
file's must be what an independent decoder sees in the damaged file (pydicom with another
plugin where there is one, FFmpeg with strict error detection, NIfTI and MHD by hand). Ends with
1 if one case fails. ``FILE``: further whole files to damage, such as real recordings; they are
used as often as each of the made ones. ``--first`` goes on with a later case: 4 runs of
500 cases from 0, 500, 1000 and 1500 are one run of 2,000.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from pydicom import examples

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzzing import BAD, REFUSED, Verdict, fuzz, make_cases, table
from originals import Original, originals


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="further whole files")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="keep the files of failed cases here")
    options = parser.parse_args()
    named = [Path(str(examples.get_path("ybr_color"))), *options.files]
    files = [*originals(), *(whole_file(path) for path in named)]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        cases = make_cases(files, options.count, options.seed, folder, options.first)
        verdicts = fuzz(cases, folder, workers=options.workers)
        failed = [verdict for verdict in verdicts if verdict.outcome in BAD]
        for verdict in failed if options.keep else ():
            keep(verdict, options.keep)
    print(table(verdicts, "way"), "\n")
    print(table(verdicts, "original"), "\n")
    reasons = Counter(v.detail for v in verdicts if v.outcome == REFUSED)
    print("refused:", ", ".join(f"{n} {reason}" for reason, n in reasons.most_common()), "\n")
    for verdict in failed:
        case = verdict.case
        told = f"case {case.position - 1}: {case.original.name}, {case.way}"
        print(f"{told}: {verdict.outcome}. {verdict.detail}")
    print(
        f"{len(verdicts)} cases from {options.first}, {len(failed)} failed, "
        f"seed {options.seed}, "
        f"{time.monotonic() - started:.0f} s"
    )
    return 1 if failed else 0


def whole_file(path: Path) -> Original:
    return Original(path.stem, path.suffix or ".dcm", path.read_bytes())


def keep(verdict: Verdict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = verdict.case.path
    shutil.copy(path, folder / f"{verdict.case.position - 1:05d}{''.join(path.suffixes)}")


if __name__ == "__main__":
    sys.exit(main())
