"""Looks at the machine: what echocli needs, what is there, and what mends the rest."""

from __future__ import annotations

import time
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from echocli.api._doctor import codecs, machine, software
from echocli.api._doctor.check import Check, State
from echocli.console import SILENT, Reporter
from echocli.device import choose_device
from echocli.errors import UsageError
from echocli.files import atomic_path, to_json

SCHEMA = "echocli.doctor/1"
README = """\
doctor.json is what `echocli doctor --json` found on a machine, for a report of a problem.
It holds no name of a user, a machine, a folder, a file or a patient, and no value of an
environment variable. Read it before you send it.
"""


@dataclass(frozen=True)
class DoctorResult:
    """Everything that was looked at."""

    checks: tuple[Check, ...]
    seconds: float

    @property
    def is_fit(self) -> bool:
        """Whether nothing that is needed failed."""
        return all(check.state is not State.FAIL for check in self.checks)

    def document(self) -> dict[str, Any]:
        """Return the result as JSON knows it."""
        return {
            "fit": self.is_fit,
            "seconds": self.seconds,
            "checks": [asdict(check) for check in self.checks],
        }


def doctor(folder: Path = Path(), *, reporter: Reporter = SILENT) -> DoctorResult:
    """Check the machine.

    Args:
        folder: Where the results of a study would go; its disk is measured.
        reporter: Who watches.

    Raises:
        UsageError: If the folder is not there.
    """
    if not folder.is_dir():
        raise UsageError("There is no such folder.", "Name one where results would go.")
    started = time.monotonic()
    checks: list[Check] = []
    with reporter.progress("checks", None) as advance:
        for group in (
            software.python(),
            software.libraries(),
            software.torchvision(),
            software.gpus(),
            software.device(choose_device()),
            codecs.transfer_syntaxes(),
            codecs.videos(),
            machine.threads(),
            machine.limits(),
            machine.disk(folder),
            machine.network(),
            machine.environment(),
            machine.key_file(),
        ):
            for check in group:
                checks.append(check)
                advance(1)
    return DoctorResult(tuple(checks), round(time.monotonic() - started, 2))


def write_bundle(result: DoctorResult, path: Path) -> None:
    """Write what was found as a zip for a report of a problem, without identifiers.

    Args:
        result: What was found.
        path: The file to write; it is replaced.
    """
    content = to_json({"schema": SCHEMA, **result.document()})
    with atomic_path(path) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in (("README.txt", README), ("doctor.json", content)):
            # ZipInfo's own time and rights: those of this machine stay here.
            bundle.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
