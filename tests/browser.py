"""A real browser without a window, driven by its own protocol over two pipes.

Source:
    Chrome DevTools Protocol; ``--remote-debugging-pipe`` reads commands from file descriptor 3
    and writes answers to 4, each JSON that ends with a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # a container allows none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)


def browser_path() -> str | None:
    """Return where a browser is, if one is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Page:
    """An open page, and what happened in it."""

    process: subprocess.Popen[bytes]
    send: int
    receive: int
    session: str = ""
    count: int = 0
    rest: bytes = b""
    requests: list[str] = field(default_factory=list)
    """Every address that was asked for."""
    said: list[str] = field(default_factory=list)
    """What went to the console, and exceptions."""
    waiting: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its answer."""
        self.count += 1
        message: dict[str, Any] = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])
            self.waiting.append(answer)

    def until(self, event: str) -> None:
        """Wait for something to happen."""
        while not any(one.get("method") == event for one in self.waiting):
            self.waiting.append(self._next())
        self.waiting.clear()

    def open(self, path: Path) -> None:
        """Open a file and wait until all of it is there."""
        self.waiting.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.until("Page.loadEventFired")

    def value(self, script: str) -> Any:
        """Return what a script says."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def screen(self, width: int, height: int, scheme: str = "light", motion: str = "") -> None:
        """Be a screen of a size, in a colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        features.append({"name": "prefers-reduced-motion", "value": motion})
        self.call("Emulation.setEmulatedMedia", features=features)

    def key(self, name: str, code: int, modifiers: int = 0) -> None:
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind, key=name, code=name, windowsVirtualKeyCode=code, modifiers=modifiers,
            )  # fmt: skip

    def picture(self) -> bytes:
        """Return the whole page as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def pdf(self) -> bytes:
        """Return the page as it comes from a printer."""
        found = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(found["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            more = os.read(self.receive, 1 << 20)
            assert more, "the browser has gone"
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        self._note(told.get("method", ""), told.get("params", {}))
        return told

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.said.append(str(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"]))


@contextmanager
def browser(path: str, profile: Path) -> Iterator[Page]:
    """Start a browser with an empty profile and one page."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # The browser wants its ends at 3 and 4; a shell puts them there.
    shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    words = [path, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        ["bash", "-c", shell, *words],
        pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    page = Page(process, ours_out, ours_in)
    try:
        target = page.call("Target.createTarget", url="about:blank")["targetId"]
        found = page.call("Target.attachToTarget", targetId=target, flatten=True)
        page.session = found["sessionId"]
        for room in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{room}.enable")
        yield page
    finally:
        page.session = ""
        try:
            page.call("Browser.close")
        except (AssertionError, BrokenPipeError):
            process.kill()
        process.wait(timeout=20)
        os.close(ours_out)
        os.close(ours_in)
