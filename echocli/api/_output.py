"""A folder of results that is either whole or absent."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echocli.errors import UsageError
from echocli.files import sync_folder


@contextmanager
def whole_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of ``folder`` when the block succeeds.

    What stood there before stays until then.

    Args:
        folder: Where the whole result shall stand.
        overwrite: Replace what is there.

    Raises:
        UsageError: If something is there and ``overwrite`` is off.
    """
    refuse_to_replace(folder, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if folder.is_dir():
            shutil.rmtree(folder)
        elif folder.exists():
            folder.unlink()
        temporary.replace(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_to_replace(path: Path, *, overwrite: bool) -> None:
    """Check, before long work, that an output may be written.

    Raises:
        UsageError: If something is there and ``overwrite`` is off.
    """
    taken = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if taken and not overwrite:
        raise UsageError(
            f"{path} already exists.",
            "Choose another place with -o, or add --overwrite to replace it.",
        )
