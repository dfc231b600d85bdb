"""Two real collectors on a private PostgreSQL that can be stopped, with a receiver of messages and of heartbeats."""

import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TextIO

import requests

from tests.chaos.kills import ROOT, free_port, ladder_files
from tests.conftest import _postgres, _postgres_programs
from watchkeeper.demo import WebhookReceiver
from watchkeeper.deployment import random_secret

WITHIN_S = 60.0
NAMES = ("alpha", "beta")
_INVENTORY = """\
site: {name: Chaos, timezone: Asia/Shanghai}
agents: [{agent: room-1, owner: olga, interval: 60 min}]
devices: [{device: web-1, agent: room-1, category: server, probe: host, owner: olga}]
"""
_LADDERS = """\
ladders: [{ladder: fault, fallback: [head], rungs: [{rung: duty, after: 0 s, tell: [duty]}]}]
"""


class PairOnPostgres:
    """The collectors `alpha` and `beta` (numbers 0 and 1). They notice ten times as fast as usual."""

    def __init__(self, folder: Path, home: str, programs: Path, receiver: WebhookReceiver, log: TextIO) -> None:
        self.folder, self.home, self.programs, self.receiver, self.log = folder, home, programs, receiver, log
        self.pings: list[str] = []
        self.running_now: dict[int, subprocess.Popen[bytes]] = {}
        self.ports = [free_port(), free_port()]
        self.up = True

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator[Self]:
        """Everything runs, and the collectors know each other."""
        folder.mkdir(parents=True, exist_ok=True)
        programs = _postgres_programs()
        assert programs, "needs PostgreSQL"
        with ExitStack() as held:
            home = held.enter_context(tempfile.TemporaryDirectory(prefix="watchkeeper-pg-", dir="/tmp"))
            held.enter_context(_postgres(programs, home))
            receiver = held.enter_context(WebhookReceiver.listening(random_secret(), 1.0, quiet=True))
            log = held.enter_context((folder / "log").open("w", encoding="utf-8"))
            made = cls(folder, home, programs, receiver, log)
            held.enter_context(made.outside())
            held.callback(made.close)
            made.write()
            for number in (0, 1):
                made.start(number)
            made.settle()
            yield made

    @contextmanager
    def outside(self) -> Iterator[None]:
        """The service that gets the heartbeats."""
        pings = self.pings

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                pings.append(self.path.rpartition("/")[2])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.outside_port = server.server_address[1]
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield
            server.shutdown()

    def write(self) -> None:
        """Write the configuration of both."""
        url = f"postgresql+psycopg://watchkeeper@/postgres?host={self.home}"
        secrets = f"store: '{url}'\nwebhook: {self.receiver.key}\nbeat: http://127.0.0.1:{self.outside_port}/uuid\n"
        files = {
            "inventory.yml": _INVENTORY,
            **ladder_files(self.receiver.port),
            "ladders.yml": _LADDERS,
            "secrets.yml": secrets,
        }
        for number, name in enumerate(NAMES):
            files[f"{name}.yml"] = (
                f"name: {name}\nport: {self.ports[number]}\nstore: 'secret:store'\nsecrets: secrets.yml\n"
                "heartbeat: {url: 'secret:beat', every: 15 s}\n"
            )
        site = self.folder / "site"
        site.mkdir()
        for name, text in files.items():
            (site / name).write_text(text, encoding="utf-8")
            (site / name).chmod(0o600)

    # ---- what is attacked ----

    def start(self, number: int, *, serves: bool = True) -> None:
        """Start a collector, and wait until it serves, if it can."""
        config = str(self.folder / "site" / f"{NAMES[number]}.yml")
        command = [sys.executable, "-m", "tests.chaos.hasty", "collector", "run", "--config", config]
        self.running_now[number] = subprocess.Popen(command, cwd=ROOT, stdout=self.log, stderr=self.log)
        assert not serves or self.until("it is ready", lambda: self._status(number, "/readyz") == 200), (
            f"see {self.log.name}"
        )

    def kill(self, number: int) -> None:
        """Send SIGKILL."""
        self.running_now[number].kill()
        self.running_now[number].wait()

    def stop_database(self) -> None:
        """Stop PostgreSQL as if its machine had failed."""
        self._control("stop -m immediate")
        self.up = False

    def start_database(self) -> None:
        """Start it again."""
        lax = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        self._control(f"-w -l {self.home}/log -o '-c listen_addresses= -k {self.home} {lax}' start")
        self.up = True

    def _control(self, what: str) -> None:
        owner = Path(self.home).stat()
        command = shlex.split(f"{self.programs}/pg_ctl -D {self.home}/data {what}")
        subprocess.run(command, cwd="/", check=True, capture_output=True, user=owner.st_uid, group=owner.st_gid)

    # ---- what is seen ----

    def _status(self, number: int, path: str) -> int:
        with suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{self.ports[number]}{path}", timeout=1).status_code
        return 0

    def unwell(self) -> int:
        """How many of the two say 503 on /healthz."""
        return sum(self._status(number, "/healthz") == 503 for number in (0, 1))

    def misses(self, number: int, which: int | None = None) -> bool:
        """Whether a collector has an open fault about that other one, or about any."""
        found = self._list(number, "incidents")
        names = [one["instance"] for one in found if one["rule"] == "watchkeeper.peer-silent"]
        return bool(names) if which is None else NAMES[which] in names

    def troubles(self) -> int:
        """How many troubles there were."""
        return len(self._list(0, "troubles?state=all"))

    def _list(self, number: int, what: str) -> list[dict[str, Any]]:
        answer = requests.get(f"http://127.0.0.1:{self.ports[number]}/api/v1/{what}", timeout=5).json()
        found: list[dict[str, Any]] = answer[what.partition("?")[0]]
        return found

    def told(self, kind: str) -> int:
        """How many messages of that kind came since the last `take_messages`."""
        return sum(one.kind == kind for one in self.receiver.messages)

    def take_messages(self) -> Counter[str]:
        """The messages since the last call, by kind; a moment later, so that a doubled one is seen too."""
        time.sleep(1.5)
        with self.receiver.changed:
            kinds = Counter(one.kind for one in self.receiver.messages)
            self.receiver.messages.clear()
        self.pings.clear()
        return kinds

    def settle(self) -> None:
        """Wait until each has heard the other."""
        time.sleep(2.0)
        self.take_messages()

    def until(self, what: str, there: Callable[[], Any]) -> bool:
        """Whether it comes within a minute."""
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end:
            if there():
                return True
            time.sleep(0.1)
        print(f"not within {WITHIN_S:.0f} s: {what}", file=self.log, flush=True)
        return False

    def close(self) -> None:
        """Stop everything."""
        if not self.up:
            self.start_database()
        for one in self.running_now.values():
            one.kill()
            one.wait()
