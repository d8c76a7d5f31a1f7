"""Downloads of public weights: only when asked for, and only what is what it says it is."""

from __future__ import annotations

import http.client
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

from echocli.api._models.catalogue import Public
from echocli.console import Reporter
from echocli.errors import EchoError, UsageError
from echocli.files import atomic_path, sha256_of

OFFLINE = "ECHOCLI_OFFLINE"
CHUNK = 1 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")
SECONDS = 60.0
"""How long a silent server is waited for."""


def check_online(what: str) -> None:
    """Refuse to touch the network where it is forbidden.

    Raises:
        UsageError: If ``ECHOCLI_OFFLINE`` is set.
    """
    if os.environ.get(OFFLINE, "0") not in ("", "0"):
        raise UsageError(
            f"{OFFLINE} is set, so {what} is not downloaded.",
            "Fetch it on another machine and import the file, or unset the variable.",
        )


def fetch(public: Public, folder: Path, sha256: str, reporter: Reporter) -> Path:
    """Download a checkpoint.

    Args:
        public: Which.
        folder: Where files from a URL are kept; those from the hub stay in its own cache.
        sha256: Hash that the user demands; that of the catalogue if empty.
        reporter: Who watches.

    Returns:
        The file of weights.

    Raises:
        UsageError: If the network is forbidden, or nobody says what hash the file has.
        EchoError: If it cannot be fetched or is not what it should be.
    """
    check_online(public.name)
    if public.page:
        raise UsageError(
            f"{public.name} cannot be fetched by a program.",
            f"Fetch it from {public.page} and import the file.",
        )
    if public.repository:
        return fetch_from_hub(public, sha256 or public.sha256, reporter)
    demanded = (sha256 or public.sha256).lower()
    if not SHA256.fullmatch(demanded):
        raise UsageError(
            f"The authors of {public.name} state no hash, so a download could not be checked.",
            f"Give the one that you trust with --sha256, or fetch {public.url} yourself and "
            "import the file.",
        )
    reporter.say(f"downloading {public.url}")
    return fetch_url(public.url, folder / public.url.rpartition("/")[2], demanded, reporter)


def fetch_url(url: str, path: Path, sha256: str, reporter: Reporter) -> Path:
    """Download a file of a known hash, unless it is there.

    Raises:
        EchoError: If it cannot be fetched, or has another hash; nothing is kept then.
    """
    if path.is_file() and sha256_of(path) == sha256:
        return path
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer, atomic_path(path) as new:
            total = int(answer.headers.get("Content-Length") or 0) or None
            with new.open("wb") as file, reporter.progress("download", total) as done:
                while part := answer.read(CHUNK):
                    file.write(part)
                    done(len(part))
            if sha256_of(new) != sha256:
                raise EchoError(
                    f"{url} has another hash than it should; it was thrown away.",
                    "Ask its authors which file is theirs before you use it.",
                )
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError):
        raise EchoError(
            f"{url} cannot be fetched.",
            "Fetch it on another machine and import the file.",
        ) from None
    return path


def fetch_from_hub(public: Public, sha256: str, reporter: Reporter) -> Path:
    """Download a checkpoint through huggingface_hub, and compare it with the hub's hash.

    Raises:
        EchoError: If it cannot be fetched, or has another hash.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
    )

    weights, *others = public.files
    reporter.say(f"downloading {public.source}")
    try:
        path = Path(hf_hub_download(public.repository, weights))
        for name in others:
            try:
                hf_hub_download(public.repository, name)
            except LocalEntryNotFoundError:  # the network went away
                raise
            except EntryNotFoundError:  # settings that not every repository has
                continue
        told = get_hf_file_metadata(hf_hub_url(public.repository, weights)).etag or ""
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError):
        raise EchoError(
            f"{public.source} cannot be fetched.",
            "Fetch it on another machine and import the file.",
        ) from None
    demanded = sha256 or (told if SHA256.fullmatch(told) else "")
    if demanded and sha256_of(path) != demanded:
        raise EchoError(
            f"{public.source} has another hash than it should.",
            "Ask its authors which file is theirs before you use it.",
        )
    return path
