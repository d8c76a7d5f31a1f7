"""Damages every file that we write and read, and shows what the reader makes of it.

    python benchmarks/harden_readers.py [NAME...] [--cases 300] [--seed 0]

A reader must refuse with an error of ours or read what was written. It may not crash, take
longer than ten seconds, or return another value where the file holds a hash of itself. See
``tests/hard_readers.py`` for the readers and the ways of damage. Ends with 1 if one case fails.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hard_readers import BAD, LARGEST, READERS, counts_of, fuzz_readers, write_everything


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=[], choices=[[], *READERS])
    parser.add_argument("--cases", type=int, default=300, help="damaged files a reader")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (LARGEST, LARGEST))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_everything(root)
        names = options.names or list(READERS)
        found = list(fuzz_readers(root, names, options.cases, options.seed))
    print("\n".join(counts_of(found)))
    failed = [f for f in found if f.outcome in BAD]
    for one in failed:
        print(f"{one.outcome}: {one.reader}, {one.way} {one.seed}: {one.detail}")
    seconds = time.process_time()
    print(f"{len(found)} cases, {len(failed)} failed, seed {options.seed}, {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
