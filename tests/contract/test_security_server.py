"""Attacks on the real server: slow, endless and too many requests; and what is required to listen beyond this machine."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from watchkeeper.collector import main
from watchkeeper.collector.site.settings import CollectorConfig, read_config
from watchkeeper.collector.web.edge.limits import ConnectionLimits
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


@contextlib.contextmanager
def serving(**limits: float) -> Iterator[int]:
    """A server with these limits; yields its port."""
    protocol = type("Hasty", (ConnectionLimits,), limits)
    server = uvicorn.Server(uvicorn.Config(_app, http=protocol, ws="none", lifespan="off", log_level="error"))
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
    with serving(request_timeout_s=0.1) as port, client(port) as slow:
        slow.sendall(begun)
        assert ends(slow) == b""


def test_requests_that_are_complete_in_time_are_served() -> None:
    with serving(request_timeout_s=5.0) as port, client(port) as one:
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


def test_one_connection_too_many_is_closed_and_the_others_stay() -> None:
    with serving(connection_limit=2) as port, client(port) as first, client(port) as second:
        for one in (first, second):
            one.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
            assert b"200 OK" in one.recv(1000)
        with client(port) as third:
            assert ends(third) == b""
        first.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        assert b"200 OK" in first.recv(1000)


def test_at_most_half_of_the_files_are_connections() -> None:
    assert 0 < ConnectionLimits.connection_limit <= 30_000
    assert ConnectionLimits.request_limit > 8_000_000  # a body that docs/protocol.md allows reaches the application


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
