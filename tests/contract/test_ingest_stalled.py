"""The endpoint of agents while the store does not answer: 503 within seconds, and the event loop goes on."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.collector_room import Room, browser
from tests.contract.test_ingest import AgentApi, push
from tests.story.world import World
from watchkeeper.collector.access.tokens import TokenKind, mint
from watchkeeper.collector.intake import endpoint, journal
from watchkeeper.collector.store.engine import Store
from watchkeeper.model.errors import StoreError


@pytest.fixture
def agent_api(tmp_path: Path) -> Iterator[AgentApi]:
    world = World(f"sqlite:///{tmp_path}/store.db")
    made = AgentApi(world)
    yield made
    world.journal.stop()
    world.close()


class Stall:
    """The store's readers wait in here."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.over = threading.Event()
        self.threads: set[threading.Thread] = set()
        genuine = Store.read

        def read(store: Store, **options: bool) -> object:
            self.threads.add(threading.current_thread())
            assert self.over.wait(30)
            return genuine(store, **options)

        monkeypatch.setattr(Store, "read", read)
        world.clock.advance(2)  # what is in memory of the tokens is too old


async def _at_once(api: AgentApi, count: int, then: Callable[[], object] = lambda: None) -> list[int]:
    transport = httpx.ASGITransport(app=api.ingest)
    async with httpx.AsyncClient(transport=transport, base_url="http://room") as client:
        head = {"authorization": f"Bearer {api.token}"}
        asked = (client.post("/v1/push", content=json.dumps(push()), headers=head) for _ in range(count))
        answers = await asyncio.gather(*asked)
    then()  # before the end of `asyncio.run`, which waits for its threads
    return [one.status_code for one in answers]


def test_requests_that_wait_for_tokens_are_answered_503_and_use_one_thread(
    agent_api: AgentApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert agent_api.push().status_code == 200
    monkeypatch.setattr(endpoint, "TOKENS_WAIT_S", 0.1)
    stall = Stall(agent_api.world, monkeypatch)
    assert asyncio.run(_at_once(agent_api, 20, stall.over.set)) == [503] * 20
    assert len(stall.threads) == 1
    monkeypatch.setattr(endpoint, "TOKENS_WAIT_S", 30.0)
    assert asyncio.run(_at_once(agent_api, 1)) == [200]


def test_a_push_that_is_not_on_disk_in_time_is_answered_503_and_a_replay_later(
    agent_api: AgentApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    genuine = journal.Journal.turn

    def turn(self: journal.Journal, group: object) -> None:
        assert over.wait(30)
        genuine(self, group)  # type: ignore[arg-type]

    monkeypatch.setattr(endpoint, "COMMIT_WAIT_S", 0.1)
    monkeypatch.setattr(journal.Journal, "turn", turn)
    late = agent_api.push()
    assert (late.status_code, late.headers["retry-after"]) == (503, "10")
    over.set()
    monkeypatch.undo()
    answer = agent_api.push()
    assert (answer.status_code, answer.json()["through"]) == (200, 1)


def test_a_token_that_was_made_while_others_were_read_is_accepted(
    agent_api: AgentApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two requests joins the reading of the first, which began before its token was made."""
    tokens, begun, over = agent_api.world.runtime.tokens, threading.Event(), threading.Event()
    genuine = tokens.refresh

    def refresh(text: str) -> None:
        genuine(text)
        if not begun.is_set():
            begun.set()
            assert over.wait(30)

    async def ask() -> list[int]:
        first = asyncio.create_task(_at_once(agent_api, 1))
        await asyncio.to_thread(begun.wait, 30)
        agent_api.token = await asyncio.to_thread(
            mint, agent_api.world.store, TokenKind.AGENT, "room-1", agent_api.world.clock.wall()
        )
        agent_api.world.clock.advance(0.5)
        second = asyncio.create_task(_at_once(agent_api, 1))
        await asyncio.sleep(0)
        over.set()
        return [*await first, *await second]

    agent_api.world.clock.advance(2)
    monkeypatch.setattr(tokens, "refresh", refresh)
    assert asyncio.run(ask()) == [200, 200]


def test_an_error_page_says_503_if_the_store_fails_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Room(tmp_path) as room:
        web = browser(room.front)
        assert web.get("/no-such-page").status_code == 404

        def fail(_text: str) -> None:
            raise StoreError("away")

        monkeypatch.setattr(room.runtime.tokens, "bearer", fail)
        answer = web.get("/no-such-page", headers={"authorization": "Bearer x"})
        assert answer.status_code == 503
