"""Drive a headless Chromium over its own protocol (CDP) on two pipes, without a driver or a library."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-dev-shm-usage",
)
ANSWER_S = 60.0
# Chromium reads commands from descriptor 3 and answers on 4.
LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
for end, fd in zip(ends, (3, 4)):
    os.dup2(end, fd)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find() -> str | None:
    """Return the browser of this machine, or None."""
    return next(filter(None, map(shutil.which, (*NAMES, MAC))), None)


class Browser:
    """A page in a browser of its own, with everything that it has loaded and what its console said."""

    def __init__(self, folder: Path) -> None:
        program = find()
        assert program is not None, "no browser here"
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        argv = [
            sys.executable,
            "-c",
            LAUNCH,
            str(to_read),
            str(to_write),
            program,
            *FLAGS,
            f"--user-data-dir={folder}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(argv, pass_fds=(to_read, to_write), **quiet)  # type: ignore[call-overload]
        os.close(to_read)
        os.close(to_write)
        self._numbers, self._rest = itertools.count(1), b""
        self.requests: list[str] = []
        self.problems: list[str] = []
        [page] = [t for t in self._ask("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self._ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._ask(f"{domain}.enable")

    _session: str | None = None

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        said = {"id": number, "method": method, "params": params}
        if self._session:
            said["sessionId"] = self._session
        os.write(self._to, json.dumps(said).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_S
        while True:
            for message in self._messages(deadline):
                if message.get("id") == number:
                    assert "error" not in message, message["error"]
                    found: dict[str, Any] = message["result"]
                    return found
                self._hear(message)

    def _messages(self, deadline: float) -> list[dict[str, Any]]:
        ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, "the browser does not answer"
        *whole, self._rest = (self._rest + os.read(self._from, 1 << 20)).split(b"\0")
        return [json.loads(one) for one in whole]

    def _hear(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def show(self, url: str) -> None:
        """Open an address, and return when its own files are loaded."""
        self._ask("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        done = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, condition: str, seconds: float = 30.0) -> None:
        """Return when an expression is true in the page."""
        deadline = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, condition
            time.sleep(0.05)

    def dress(self, width: int, height: int, scheme: str = "light", motion: str = "no-preference") -> None:
        """Give the page a size, a colour scheme and a wish about motion."""
        phone = width < 700
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        wishes = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", motion)]
        self._ask("Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in wishes])

    def move(self, x: float, y: float) -> None:
        """Move the pointer."""
        self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Save a screenshot, of the whole page or of what is in the window."""
        taken = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
