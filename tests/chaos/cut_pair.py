"""Two collector processes on one PostgreSQL, with the real limits. One is cut off in the middle of a transaction, again and again."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from tests.chaos import pair
from tests.chaos.outcome import Outcome
from tests.chaos.pair import AGENT_COUNT, Pair
from tests.dropping_proxy import DroppingProxy
from watchkeeper.collector.access.tokens import TokenKind, mint

SERVED_WITHIN_S = 15.0
_GIVE_UP_S = 120.0
_LOOK_S = 12.0
"""For how long the other collector is watched after a cut."""


class CutPair(Pair):
    """The first collector reaches the database through a proxy. `served_s` is how long the slowest agent waited for the other
    collector, after each cut."""

    def __init__(self, folder: Path, store_url: str, *rest: Any) -> None:
        super().__init__(folder, store_url, *rest)
        base, _, home = store_url.partition("?host=")
        self.proxy = DroppingProxy(f"{home}/.s.PGSQL.5432")
        self.proxy.start()
        url = f"{base.replace('@/', f'@127.0.0.1:{self.proxy.port}/')}?sslmode=disable&application_name=first"
        secrets = (folder / "secrets.yml").read_text(encoding="utf-8").replace(store_url, url)
        (folder / "secrets-0.yml").write_text(secrets, encoding="utf-8")
        (folder / "secrets-0.yml").chmod(0o600)
        settings = folder / "collector-0.yml"
        settings.write_text(
            settings.read_text(encoding="utf-8").replace("secrets.yml", "secrets-0.yml"), encoding="utf-8"
        )
        self.tokens = {
            f"agent-{n}": mint(self.store, TokenKind.AGENT, f"agent-{n}", time.time()) for n in range(AGENT_COUNT)
        }
        self.served_s: list[float] = []
        self._cuts: list[tuple[float, float]] = []

    def round(self, number: int) -> None:
        """Cut the first collector off in one of its transactions, until it is mended in one way or the other."""
        self._wait("the first collector is cut off in a transaction", self._cut)
        began, wall = time.monotonic(), time.time()
        with ThreadPoolExecutor(AGENT_COUNT) as agents:
            self.served_s.append(max(agents.map(lambda name: self._slowest(name, began + _LOOK_S), self.tokens)))
        (self.proxy.resume if number % 2 else self.proxy.lose)()
        self._serve(self.urls[0], "agent-0")
        self._cuts.append((wall, time.time()))

    def _cut(self) -> bool:
        """Cut the first collector off if it has written something and not committed it."""
        writing = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'first' AND state = 'idle in transaction'"
            " AND backend_xid IS NOT NULL"
        )
        for _ in range(1000):
            with self.store.read() as connection:
                if not connection.execute(writing).scalar():
                    continue
            self.proxy.silence()
            time.sleep(0.1)  # what was under way arrives
            with self.store.read() as connection:
                if connection.execute(writing).scalar():
                    return True
            self.proxy.resume()
        return False

    def _slowest(self, name: str, until: float) -> float:
        """Push to the other collector again and again. Returns how long the slowest push took."""
        slowest = 0.0
        while (began := time.monotonic()) < until:
            self._serve(self.urls[1], name)
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.2)
        return slowest

    def _serve(self, url: str, name: str) -> None:
        """Push as an agent until it is answered."""
        body = {"protocol": 1, "agent": name, "epoch": "chaos", "lane": "events", "sent_at": time.time(), "items": []}
        head = {"Authorization": f"Bearer {self.tokens[name]}"}
        until = time.monotonic() + _GIVE_UP_S
        while time.monotonic() < until:
            try:
                answer = requests.post(f"{url}/v1/push", data=json.dumps(body), headers=head, timeout=20)
            except requests.RequestException:
                continue
            if answer.ok:
                return
            assert answer.status_code >= 500, answer.text
            time.sleep(0.2)
        raise AssertionError(f"{url} has not served {name} for {_GIVE_UP_S:.0f} s; see {self.log.name}")

    def _served(self, begin: float, end: float) -> float:
        """The longest time without interruption; a cut is one."""
        pieces, since = [], begin
        for cut, mended in self._cuts:
            if since < cut < end:
                pieces.append((since, cut))
            if since < mended:
                since = max(since, min(mended, end)) if cut < end else since
        pieces.append((since, end))
        return max((super(CutPair, self)._served(*piece) for piece in pieces if piece[0] < piece[1]), default=0.0)


def attack(rounds: int, seed: int, folder: Path) -> Outcome:
    """Run so many rounds, then compare what was decided and told with the incidents."""
    with pair.pair(folder, seed, CutPair) as one:
        assert isinstance(one, CutPair)
        one.start(0)
        one.start(1)
        one.wait_for_both()
        one.agents.start()
        for number in range(rounds):
            one.round(number)
        one.settle()
        tally = one.compare()
        one.proxy.close()
    faults, decisions = tally.faults(), tally.decisions
    late = sum(served_s > SERVED_WITHIN_S for served_s in one.served_s)
    lost = tally.messages_lost + tally.messages_given_up + tally.left_in_journal
    lost += len(decisions.rungs_never) + len(decisions.rungs_skipped) + len(decisions.recoveries_missing)
    doubled = len(decisions.rungs_doubled) + len(decisions.recoveries_doubled)
    note = f"served after at most {max(one.served_s):.1f} s; {tally.pushes} pushes, {tally.messages} messages"
    survived = 0 if faults else rounds - late
    return Outcome(rounds, survived, lost, doubled, note=f"{note}; {faults}" if faults else note)
