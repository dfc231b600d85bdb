"""The logging of the run commands: even at DEBUG, libraries log no secret and no noise."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.security_room import listening

ROOT = Path(__file__).resolve().parents[2]
SECRET = "sesame-open-4711"
RUN = f"""
import io, logging, sys, warnings
warnings.simplefilter("ignore")  # of Apprise's import
from watchkeeper.model.logs import set_up_logging
set_up_logging("%(levelname)s %(name)s: %(message)s", logging.DEBUG)

import requests
from watchkeeper.channels.open import open_channel
from watchkeeper.channels.ports import Address, Message, Via
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock

port = int(sys.argv[1])
requests.post(f"http://127.0.0.1:{{port}}/{SECRET}", timeout=5)
for url in (f"json://u:{SECRET}@127.0.0.1:{{port}}/{SECRET}", "slack://{SECRET}", "{SECRET}"):
    secrets = Secrets(environ={{"WATCHKEEPER_SECRET_PAGER": url}})
    channel = open_channel(Address(Via.APPRISE, secret="pager"), secrets, FakeClock(), io.StringIO())
    assert not channel.send(Message("key", "olga", "Hot", "text")).delivered
for name in ("alembic.runtime", "apscheduler.scheduler", "pymodbus.logging", "urllib3.connectionpool"):
    logging.getLogger(name).debug("noise")
logging.getLogger("watchkeeper.own").debug("a line of ours")
"""


@pytest.mark.parametrize("status", [403, 500])
def test_libraries_log_neither_secrets_nor_noise_even_at_debug(status: int) -> None:
    with listening({}, status) as (port, requests):
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(port)], cwd=ROOT, capture_output=True, text=True, check=True
        )
    assert len(requests) == 2, "one request of our own, and one of Apprise"
    assert "DEBUG watchkeeper.own: a line of ours" in done.stderr
    assert "noise" not in done.stderr
    assert SECRET not in done.stderr + done.stdout
