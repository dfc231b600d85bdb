"""The TCP and HTTP probes against servers on loopback, correct and faulty ones."""

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service_room import Talk, certify, listening, look, mute, probe_of, reason, see, service, silent_port, why
from watchkeeper.agent.probes.services.check import tls_context
from watchkeeper.agent.probes.services.http import BODY_BYTES
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Device, Http
from watchkeeper.model.reading import Missing, Reason, Value

NOW = float(int(time.time()))  # TLS uses the machine's clock, so the certificates are made by it
DAY_S = 86_400.0
PLAIN = Http(tls=False)


@pytest.fixture(autouse=True)
def _authorities() -> Iterator[None]:
    """Drop the cached TLS contexts: a test may change the authorities that this machine trusts."""
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


def says(*answer: bytes, keep: bool = False) -> Talk:
    """A server that sends these pieces one after the other; `keep` leaves the connection open."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in answer:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if keep:
            await reader.read()

    return talk


def page(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


async def attempt(talk: Talk, http: Http = PLAIN, timeout_s: float = 5.0) -> dict[str, Value]:
    async with listening(talk) as address:
        return await look(service("http", address, timeout_s=timeout_s, http=http))


def attempted(talk: Talk, http: Http = PLAIN, timeout_s: float = 5.0) -> dict[str, Value]:
    return asyncio.run(attempt(talk, http, timeout_s))


# ---- TCP ----


def test_a_port_that_accepts_connections_is_up() -> None:
    async def run() -> dict[str, Value]:
        async with listening(mute) as address:
            return await look(service("tcp", address))

    seen = asyncio.run(run())
    assert (seen["device.answering"], seen["service.state"]) == ("yes", "up")
    assert isinstance(seen["response.time"], float)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_that_refuses_is_a_service_down_on_a_machine_that_answers(host: str) -> None:
    seen = see(service("tcp", f"{host}:1"))
    assert (seen["device.answering"], seen["service.state"]) == ("yes", "down")
    assert reason(seen["response.time"]) is Reason.REFUSED
    assert "nothing listens on port 1" in why(seen)


def test_a_silent_machine_does_not_answer() -> None:
    with silent_port() as port:
        seen = see(service("tcp", f"127.0.0.1:{port}", timeout_s=0.3))
    assert seen["device.answering"] == "no"
    assert seen["service.state"] == seen["response.time"] == Missing(Reason.TIMEOUT, "no answer within 0.3 s")


def with_addresses(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> Device:
    """A device whose name resolves to these addresses."""

    async def look_up(*_: Any) -> list[Any]:
        return [(socket.AF_INET, address) for address in addresses]

    monkeypatch.setattr("watchkeeper.agent.probes.services.check.look_up", look_up)
    return service("tcp", "many.room:80", timeout_s=0.6)


UNREACHABLE = ("255.255.255.255", 1)  # refused by our own kernel


@pytest.mark.parametrize("addresses", [(("127.0.0.1", 1), UNREACHABLE), (UNREACHABLE, ("127.0.0.1", 1))])
def test_if_one_of_several_addresses_refuses_the_machine_answers(
    addresses: tuple[tuple[str, int], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = see(with_addresses(monkeypatch, *addresses))
    assert (seen["device.answering"], seen["service.state"]) == ("yes", "down")
    seen = see(with_addresses(monkeypatch, UNREACHABLE, UNREACHABLE))
    assert seen["device.answering"] == "no"
    assert reason(seen["service.state"]) is Reason.UNREACHABLE


def test_a_silent_address_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(silent: int) -> dict[str, Value]:
        async with listening(mute) as address:
            open_port = int(address.rpartition(":")[2])
            return await look(with_addresses(monkeypatch, ("127.0.0.1", silent), ("127.0.0.1", open_port)))

    with silent_port() as silent:
        assert asyncio.run(run(silent))["service.state"] == "up"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000", "[::1]"])
def test_an_address_without_a_valid_port_is_refused(address: str) -> None:
    seen = see(service("tcp", address))
    assert seen["device.answering"] == "no"
    assert reason(seen["service.state"]) is Reason.UNREACHABLE
    assert "HOST:PORT" in why(seen)


def test_ipv6() -> None:
    async def run() -> tuple[dict[str, Value], dict[str, Value]]:
        async with listening(says(page(b"")), host="::1") as address:
            return await look(service("tcp", address)), await look(service("http", address, http=PLAIN))

    try:
        tcp, http = asyncio.run(run())
    except OSError:
        pytest.skip("needs IPv6 on loopback")
    assert tcp["service.state"] == http["service.state"] == "up"


def test_series_stay_the_same_objects_until_the_device_is_redefined() -> None:
    async def run() -> None:
        probe, device = probe_of("http"), service("http", "127.0.0.1:1")
        first, second = await probe.sweep(device), await probe.sweep(device)
        assert first.series is second.series
        assert len(first.series) == len(first.values) == 4
        await probe.forget(device.device)
        plain = await probe.sweep(service("http", "127.0.0.1:1", http=PLAIN))
        assert [one.quantity for one in plain.series] == ["device.answering", "service.state", "response.time"]

    asyncio.run(run())


# ---- pages ----


@pytest.mark.parametrize(
    ("status", "http", "state"),
    [
        ("200 OK", PLAIN, "up"),
        ("302 Found", PLAIN, "up"),
        ("404 Not Found", PLAIN, "down"),
        ("503 Service Unavailable", PLAIN, "down"),
        ("401 Unauthorized", Http(tls=False, status=(401, 403)), "up"),
        ("200 OK", Http(tls=False, status=(401, 403)), "down"),
    ],
)
def test_a_wanted_status_is_up_any_other_down(status: str, http: Http, state: str) -> None:
    seen = attempted(says(page(b"x", status)), http)
    assert (seen["device.answering"], seen["service.state"]) == ("yes", state)
    if state == "down":
        wanted = "401 or 403" if http.status else "200 to 399"
        assert why(seen) == f"answers {status[:3]}, not {wanted}"


def test_a_redirect_is_not_followed() -> None:
    called = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.append(await reader.read(10))

    async def run() -> dict[str, Value]:
        async with listening(other) as there:
            redirect = page(b"", "302 Found", f"Location: http://{there}/?token=s3cret")
            return await attempt(says(redirect), Http(tls=False, status=(200,)))

    seen = asyncio.run(run())
    assert seen["service.state"] == "down"
    assert why(seen) == "answers 302 (a redirect, which is not followed), not 200"
    assert called == []


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        (page(b"all is well here"),),
        (b"HTTP/1.0 200 OK\r\n\r\nall is", b" well"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + page(b"is well"),),
        (b"HTTP/1.1 200 OK\nContent-Length: 7\n\nis well",),
        (CHUNKED + b"6;x=y\r\nall is\r\n5\r\n well\r\n0\r\n\r\n",),  # the text is split over two chunks
        (page("状态良好 is well".encode("gb18030"), "200 OK", "Content-Type: text/html; charset=GB18030"),),
    ],
)
def test_a_text_is_found_however_the_page_is_sent(answer: tuple[bytes, ...]) -> None:
    seen = attempted(says(*answer), Http(tls=False, contains="is well"))
    assert seen["service.state"] == "up", seen


def test_a_text_is_searched_in_the_encoding_of_the_page() -> None:
    talk = says(page("状态良好".encode("gb18030"), "200 OK", "Content-Type: text/html; charset=gb18030"))
    assert attempted(talk, Http(tls=False, contains="良好"))["service.state"] == "up"
    assert attempted(talk, Http(tls=False, contains="不良"))["service.state"] == "down"


def test_a_text_is_found_although_the_connection_stays_open() -> None:
    seen = attempted(says(page(b"all is well"), keep=True), Http(tls=False, contains="well"))
    assert seen["service.state"] == "up"
    seen = attempted(says(page(b"all is lost"), keep=True), Http(tls=False, contains="well"))
    assert why(seen) == "the answer is without the text wanted"
    assert reason(seen["response.time"]) is Reason.ABSENT


def test_a_page_without_end_is_read_to_a_limit() -> None:
    endless = says(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 65_536] * 64)
    seen = attempted(endless, Http(tls=False, contains="well"))
    assert why(seen) == f"the text wanted is not in the first {BODY_BYTES // 1024} kB of the answer"


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, "the answer is not HTTP"),  # headers without end
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nwell", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nwell", "the answer is not HTTP"),
        (CHUNKED + b"ffffffffffffffff\r\nlost", "the answer is cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nlost", "the answer is cut short"),
        (b"HTTP/1.1 200 OK\r\nConte", "the answer is cut short"),
        (b"", "the answer is cut short"),
    ],
)
def test_an_answer_that_is_cut_short_or_not_http_is_down(answer: bytes, detail: str) -> None:
    seen = attempted(says(answer), Http(tls=False, contains="well"))
    assert (seen["device.answering"], seen["service.state"], why(seen)) == ("yes", "down", detail)


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_drips_is_left_at_the_deadline(begin: bytes) -> None:
    dripped = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(b"x")
            await writer.drain()
            dripped.append(1)
            await asyncio.sleep(0.02)

    seen = attempted(drip, Http(tls=False, contains="well"), timeout_s=0.3)
    assert (seen["device.answering"], seen["service.state"]) == ("yes", "down")
    assert seen["response.time"] == Missing(Reason.TIMEOUT, "connected, but no whole answer within 0.3 s")
    assert 1 < len(dripped) < 250  # the probe read some bytes, but stopped


def test_the_request_has_an_encoded_path_and_no_injected_header() -> None:
    received: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(page(b""))
        await writer.drain()

    async def run() -> str:
        async with listening(talk) as address:
            port = address.rpartition(":")[2]
            path = "/状态 x?a=1&b=%20\r\nEvil: yes"
            await look(service("http", f"localhost:{port}", http=Http(tls=False, path=path)))
            return port

    port = asyncio.run(run())
    lines = received[0].decode().split("\r\n")
    assert lines[0] == "GET /%E7%8A%B6%E6%80%81%20x?a=1&b=%20%0D%0AEvil:%20yes HTTP/1.1"
    assert f"Host: localhost:{port}" in lines
    assert "Connection: close" in lines
    assert not any(line.startswith("Evil") for line in lines)


# ---- certificates ----


def tls(
    folder: Path, monkeypatch: pytest.MonkeyPatch, http: Http, *, lasts_s: float = 10 * DAY_S, trusted: bool = True,
    name: str = "localhost",
) -> dict[str, Value]:  # fmt: skip
    """Check a TLS server whose certificate ends `lasts_s` after NOW; `trusted` makes this machine trust it."""
    certificate = certify(folder, NOW, lasts_s, name)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))

    async def run() -> dict[str, Value]:
        async with listening(says(page(b"all is well")), certificate.context) as address:
            device = service("http", address, http=http)
            return await look(device, probe_of("http", FakeClock(NOW)))

    return asyncio.run(run())


def test_a_trusted_certificate_gives_its_remaining_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tls(tmp_path, monkeypatch, Http(contains="well"))
    assert seen["service.state"] == "up"
    assert seen["certificate.remaining"] == 10 * DAY_S


def test_a_self_signed_certificate_is_down_and_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tls(tmp_path, monkeypatch, Http(), trusted=False)
    assert (seen["device.answering"], seen["service.state"]) == ("yes", "down")
    assert why(seen) == "certificate not accepted: self-signed certificate"
    assert seen["certificate.remaining"] == 10 * DAY_S


def test_an_expired_certificate_is_down_and_its_remaining_time_negative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tls(tmp_path, monkeypatch, Http(), lasts_s=-2 * DAY_S)
    assert seen["service.state"] == "down"
    assert why(seen) == "certificate not accepted: certificate has expired"
    assert seen["certificate.remaining"] == -2 * DAY_S


def test_a_certificate_of_another_name_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tls(tmp_path, monkeypatch, Http(), name="other.room")
    assert seen["service.state"] == "down"
    assert "certificate is not valid for '127.0.0.1'" in why(seen)


def test_without_verify_any_certificate_is_accepted_and_its_time_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tls(tmp_path, monkeypatch, Http(verify=False, contains="well"), lasts_s=-2 * DAY_S, trusted=False)
    assert seen["service.state"] == "up"
    assert seen["certificate.remaining"] == -2 * DAY_S


def test_a_server_without_tls_is_down_if_tls_is_wanted() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        await writer.drain()

    seen = attempted(plain, Http())
    assert (seen["device.answering"], seen["service.state"]) == ("yes", "down")
    assert why(seen).startswith("the server does not speak TLS")
    assert isinstance(seen["certificate.remaining"], Missing)


def test_a_server_that_hangs_in_the_handshake_answers_but_is_down() -> None:
    seen = attempted(mute, Http(), timeout_s=0.3)
    assert (seen["device.answering"], seen["service.state"]) == ("yes", "down")
    assert reason(seen["certificate.remaining"]) is Reason.TIMEOUT


def test_the_reason_is_logged_once_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def run() -> None:
        probe = probe_of("http")

        async def at(status: str) -> Device:
            async with listening(says(page(b"", status))) as address:
                device = service("http", address, http=PLAIN)
                await probe.sweep(device)
                return device

        for status in ("200 OK", "500 Oh", "500 Oh", "502 Ah"):
            await at(status)
        await probe.sweep(service("http", "nowhere:port", http=PLAIN))  # the machine does not answer: nothing is logged
        await at("200 OK")

    asyncio.run(run())
    logged = [
        record.getMessage() for record in caplog.records if record.name == "watchkeeper.agent.probes.services.check"
    ]
    assert logged == [
        "http-1: the service is down: answers 500, not 200 to 399",
        "http-1: the service is down: answers 502, not 200 to 399",
        "http-1: the service is no longer down",
    ]
