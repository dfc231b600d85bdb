"""Takes the pictures of the documentation from a run of `watchkeeper demo`: `python -m tests.pictures`. Chinese needs a font (Debian:
fonts-noto-cjk)."""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.kills import free_port
from tests.chromium import Chromium
from tests.phone_room import PHONE

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDE = (1100, 1080)
AT_LEVEL = re.compile(r"min  owner ")
"""The pictures are taken when the owner was notified."""


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """Run the demo. Yields the link of the person on duty once the owner was notified, too."""
    command = [sys.executable, "-u", "-m", "watchkeeper", "demo", "--dir", str(folder / "demo"), "--minute", "2"]
    command += ["--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        link = ""
        for line in process.stdout or ():
            link = next(iter(re.findall(r"http://\S+/t/\S+", line)), link)
            if AT_LEVEL.search(line):
                break
        try:
            yield link
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def main() -> None:
    """Write the three pictures."""
    with tempfile.TemporaryDirectory() as name, Chromium(Path(name)) as browser, demo(Path(name)) as link:
        for language in ("en", "zh"):
            browser.resize(*PHONE)
            browser.open(f"{link}?lang={language}")
            browser.picture(FOLDER / f"phone-{language}.png")
        browser.resize(*WIDE)
        browser.open(f"{link}?lang=en")
        browser.picture(FOLDER / "trouble.png")


if __name__ == "__main__":
    main()
