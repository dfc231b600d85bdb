"""Chromium, driven by the DevTools protocol over a pipe, for tests that click as a person does."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
TIMEOUT_S = 30.0


class Chromium:
    """One browser with one page. It keeps cookies until it ends."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [PROGRAM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe", "about:blank"]
        shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'  # the file descriptors that Chromium uses
        self._log = (folder / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "chromium", *command],
            pass_fds=(theirs_in, theirs_out), stdout=self._log, stderr=self._log,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session: dict[str, str] = {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = {}
        self.ask("Browser.close")
        self._process.wait(timeout=TIMEOUT_S)
        os.close(self._out)
        os.close(self._in)
        self._log.close()

    def ask(self, method: str, **parameters: Any) -> Any:
        """Send one command of the protocol; returns its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **self._session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (said := self._next()).get("id") != number:
            pass  # skip events
        assert "error" not in said, f"{method}: {said['error']}"
        return said["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 16)
            assert part, "chromium has ended; see chromium.log"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, url: str) -> None:
        """Open a page and wait until it is complete."""
        self.ask("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript condition is true. While a page is being replaced, no condition is."""
        end = time.monotonic() + TIMEOUT_S
        while not self._holds(condition):
            assert time.monotonic() < end, f"this did not become true: {condition}\n{self.text()}"
            time.sleep(0.05)

    def _holds(self, condition: str) -> bool:
        try:
            return bool(self.run(condition))
        except AssertionError:
            return False

    def text(self) -> str:
        """The visible text, in one line."""
        return " ".join(str(self.run("document.body.innerText")).split())

    def until_reads(self, text: str) -> None:
        """Wait until the page contains a text."""
        self.until(f"document.body.innerText.replace(/\\s+/g, ' ').includes({json.dumps(text)})")

    def click(self, label: str) -> None:
        """Click the first button, summary or link with that text, once it stays where it is.

        A page that updates itself moves its buttons: a press at an old place would hit another one.
        """
        place = f"[...document.querySelectorAll('button, summary, a')].find(e => e.innerText.trim() === {json.dumps(label)})"
        self.until(f"{place} !== undefined")
        self.run(f"{place}.scrollIntoView({{block: 'center'}})")
        middle = f"""(() => {{
            const e = {place}; if (!e) return null;
            const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2;
            return e.contains(document.elementFromPoint(x, y)) ? [x, y] : null; }})()"""
        end = time.monotonic() + TIMEOUT_S
        before, now = None, self.run(middle)
        while now is None or now != before:
            assert time.monotonic() < end, f"{label!r} is covered or does not stay in its place\n{self.text()}"
            time.sleep(0.1)
            before, now = now, self.run(middle)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=now[0], y=now[1], button="left", clickCount=1)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the screen."""
        mobile = width < 600
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def picture(self, file: Path) -> None:
        """Write what the screen shows as a PNG."""
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))
