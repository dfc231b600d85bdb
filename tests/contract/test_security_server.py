"""Attacks on the real server: slow, endless and too many requests; and what is required to listen beyond this machine."""

import contextlib
import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.service_room import certify
from watchkeeper.collector import main
from watchkeeper.collector.access.recognised import recognise
from watchkeeper.collector.site.settings import CollectorConfig, read_config
from watchkeeper.collector.web.edge.limits import ConnectionLimits
from watchkeeper.collector.web.edge.places import PlaceLimits
from watchkeeper.collector.web.edge.server import Server, raise_file_limit
from watchkeeper.model.errors import ConfigError

HEAD = b"POST /v1/push HTTP/1.1\r\nHost: here\r\n"


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Returns the length of the body."""
    assert scope["type"] == "http"
    size, more = 0, True
    while more:
        event = await receive()
        size += len(event.get("body", b""))
        more = event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(str(size)))]})
    await send({"type": "http.response.body", "body": str(size).encode()})


ROOMY = PlaceLimits(all_=100, strangers=50, address=50)


@contextlib.contextmanager
def serving(places: PlaceLimits = ROOMY, app: Any = _app, tls: Path | None = None, **limits: float) -> Iterator[int]:
    """A server with these limits; yields its port."""
    protocol = type("Hasty", (ConnectionLimits,), limits)
    config = uvicorn.Config(
        app, http=protocol, ws="none", lifespan="off", log_level="error",
        ssl_certfile=str(tls) if tls else None, ssl_keyfile=str(tls) if tls else None,
    )  # fmt: skip
    server = Server(config, lambda: None, places)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


@contextlib.contextmanager
def client(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        yield one


def ends(one: socket.socket) -> bytes:
    """The bytes until the other side closes the connection; a reset counts as closing."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while more := one.recv(65_536):
            said += more
    return said


@pytest.mark.parametrize(
    "begun",
    [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\nhalf", HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"],
)
def test_a_request_that_stays_incomplete_is_closed(begun: bytes) -> None:
    with serving(head_timeout_s=0.1, request_timeout_s=0.1) as port, client(port) as slow:
        slow.sendall(begun)
        assert ends(slow) == b""


def test_requests_that_are_complete_in_time_are_served() -> None:
    with serving(head_timeout_s=5.0, request_timeout_s=5.0) as port, client(port) as one:
        for _ in range(3):
            for part in (HEAD[:20], HEAD[20:] + b"Content-Length: 4\r\n\r\nha", b"lf"):
                one.sendall(part)
            assert one.recv(1000).endswith(b"\r\n\r\n4")


@pytest.mark.parametrize(
    "endless",
    [b"GET /" + b"a" * 40_000, HEAD + b"A: " + b"a" * 40_000, HEAD + b"A: b\r\n" * 7_000,
     HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 70_000],
)  # fmt: skip
def test_an_endless_head_or_trailer_is_closed(endless: bytes) -> None:
    with serving(request_limit=100_000) as port, client(port) as one:
        with contextlib.suppress(ConnectionError):
            one.sendall(endless)
        assert b"200 OK" not in ends(one)


def test_a_usual_head_and_a_large_body_are_accepted() -> None:
    with serving() as port, client(port) as one:
        one.sendall(HEAD + b"A: " + b"a" * 20_000 + b"\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
        assert one.recv(1000).endswith(b"1000000")


async def _recognising(scope: Any, receive: Any, send: Any) -> None:
    """Knows the client by the path."""
    recognise(scope, scope["path"])
    await _app(scope, receive, send)


def ask(one: socket.socket, path: str = "/v1/push") -> bytes:
    one.sendall(f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n".encode())
    said = b""
    while not said.endswith(b"\r\n\r\n0") and (more := one.recv(1000)):
        said += more
    return said


def test_a_stranger_too_many_takes_the_place_of_the_oldest() -> None:
    with serving(PlaceLimits(10, 2, 2)) as port, client(port) as first, client(port) as second:
        assert b"200 OK" in ask(first)
        assert b"200 OK" in ask(second)
        with client(port) as third:
            assert b"200 OK" in ask(third)
            assert ends(first) == b""
            assert b"200 OK" in ask(second)


def test_who_has_authenticated_keeps_the_place_whatever_strangers_do() -> None:
    with serving(PlaceLimits(10, 2, 2), _recognising) as port, client(port) as agent, contextlib.ExitStack() as flood:
        assert b"200 OK" in ask(agent, "/agent")
        silent = [flood.enter_context(client(port)) for _ in range(20)]
        assert ends(silent[0]) == b""
        assert b"200 OK" in ask(agent, "/agent")
        with client(port) as another:
            assert b"200 OK" in ask(another, "/other")


def test_silent_sockets_are_shut_before_tls_and_a_handshake_still_works(tmp_path: Path) -> None:
    certificate = certify(tmp_path, time.time(), 3600.0).file
    trust = ssl.create_default_context(cafile=str(certificate))
    with serving(PlaceLimits(30, 4, 4), _recognising, certificate) as port, contextlib.ExitStack() as flood:
        silent = [flood.enter_context(client(port)) for _ in range(20)]
        assert ends(silent[0]) == b""
        with client(port) as plain, trust.wrap_socket(plain, server_hostname="localhost") as agent:
            assert b"200 OK" in ask(agent, "/agent")
            silent += [flood.enter_context(client(port)) for _ in range(20)]
            assert ends(silent[-5]) == b""
            assert b"200 OK" in ask(agent, "/agent")


def test_a_response_that_nobody_takes_is_given_up() -> None:
    over = threading.Event()

    async def large(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"60000000")]})
        for _ in range(2):  # the second waits until most of the first is taken
            await send({"type": "http.response.body", "body": b"x" * 30_000_000, "more_body": True})
        over.set()

    with serving(app=large, response_timeout_s=0.1) as port, client(port) as slow:
        slow.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        assert over.wait(20), "it waits for a client that reads nothing"


def test_at_most_half_of_the_files_are_connections() -> None:
    for files in (64, 1024, 65_536):
        limits = PlaceLimits.within(files)
        assert 0 < limits.address <= limits.strangers
        assert 2 * limits.strangers <= limits.all_ <= files // 2
    assert ConnectionLimits.request_limit > 8_000_000  # a body that docs/protocol.md allows reaches the application


def test_it_may_open_as_many_files_as_the_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        files = raise_file_limit()
        assert files == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(before[1], 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# ---- listening on other addresses ----


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host: 192.0.2.5\n", "set `tls`"),
        ("host: 0.0.0.0\ntls: {certificate: a, key: b}\n", "`hosts`"),
        ("store: postgresql://u:hunter2@h/d\n", "`secret:NAME`"),
    ],
)
def test_an_insecure_configuration_is_refused_without_repeating_a_password(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "collector.yml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_config(tmp_path / "collector.yml")
    assert message in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "watch.example", "ftp://watch.example", "https://", "https://watch.example:99999", "https://u:hunter2@watch.example",
        "https://watch.example/path", "https://watch.example?x", "http://watch.example", "http://192.0.2.5:8760", "https://[::1",
    ],
)  # fmt: skip
def test_an_address_for_links_that_would_not_work_or_not_be_safe_is_refused(url: str) -> None:
    (problem,) = CollectorConfig(url=url).check()
    assert problem[0] == "url"
    assert "hunter2" not in problem[1]


@pytest.mark.parametrize(
    "url", ["https://watch.example", "https://watch.example:8443/", "http://127.0.0.1:8000", "https://[::1]"]
)
def test_links_begin_with_the_address_that_is_set(url: str) -> None:
    config = CollectorConfig(url=url, hosts=("other.example",))
    assert not list(config.check())
    assert config.page_url == url.rstrip("/")
    assert config.own_url == "http://127.0.0.1:8760"


def test_the_host_of_the_links_is_served_without_an_entry_in_hosts() -> None:
    assert CollectorConfig(url="https://Watch.example:8443").names == ("127.0.0.1", "watch.example")
    assert CollectorConfig("0.0.0.0", url="https://watch.example").names == ("watch.example",)
    assert CollectorConfig(hosts=("watch.example",)).page_url == "http://127.0.0.1:8760"


def test_it_accepts_the_address_it_listens_on_and_its_links_have_a_name() -> None:
    assert CollectorConfig("192.0.2.5", hosts=("watch.example",)).names == ("watch.example", "192.0.2.5")
    assert CollectorConfig("0.0.0.0", hosts=("watch.example",)).names == ("watch.example",)
    assert CollectorConfig("127.0.0.1", hosts=("watch.example",)).names == ("127.0.0.1", "watch.example")
    assert CollectorConfig("::1").own_url == "http://[::1]:8760"
    assert CollectorConfig("192.0.2.5").names == ("192.0.2.5",)


def test_tls_1_2_has_forward_secrecy_and_authenticated_encryption() -> None:
    offered = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offered.set_ciphers(main._CIPHERS)
    for cipher in offered.get_ciphers():
        assert cipher["aead"], cipher["name"]
        assert cipher["kea"] in ("kx-ecdhe", "kx-any"), cipher["name"]
    assert offered.minimum_version >= ssl.TLSVersion.TLSv1_2
