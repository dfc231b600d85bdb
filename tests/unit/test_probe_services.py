"""The service probes without real services: states, reasons, addresses, login errors, and options of the inventory."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.service_room import listening, look, mute, probe_of, reason, service, swept, why
from watchkeeper.agent.probes.services import check as service_module
from watchkeeper.agent.probes.services import postgresql
from watchkeeper.agent.probes.services.check import Attempt, CheckFailed, ServiceProbe, endpoint, look_up
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import PROBE_KINDS, Category, Database, Device, Http, Process, Systemd
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Reason, Value

V4, V6 = socket.AF_INET, socket.AF_INET6
TOKEN = bytes(range(48))


# ---- one attempt ----


def attempted(check: Callable[[Attempt], Any], clock: FakeClock | None = None) -> dict[str, Value]:
    probe = ServiceProbe(clock or FakeClock(), "test", check, lambda _: ("certificate.remaining",))
    return asyncio.run(look(service("http", "x", timeout_s=0.2), probe))


def test_a_check_that_succeeds_is_up_and_timed() -> None:
    clock = FakeClock()

    async def check(attempt: Attempt) -> None:
        clock.advance(0.25)
        attempt.found["certificate.remaining"] = 60.0

    assert attempted(check, clock) == {
        "device.answering": "yes",
        "service.state": "up",
        "response.time": 0.25,
        "certificate.remaining": 60.0,
    }


@pytest.mark.parametrize("reached", [True, False])
@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (CheckFailed(Reason.ABSENT, "not there"), Missing(Reason.ABSENT, "not there")),
        (
            ConnectionResetError(104, "x"),
            Missing(Reason.MALFORMED, "the connection broke off: Connection reset by peer"),
        ),
        (OSError("hush, s3cret"), Missing(Reason.MALFORMED, "the connection broke off: OSError")),
    ],
)
def test_a_service_is_down_only_if_the_machine_answered(error: Exception, missing: Missing, *, reached: bool) -> None:
    async def check(attempt: Attempt) -> None:
        attempt.reached = reached
        raise error

    seen = attempted(check)
    assert seen["device.answering"] == ("yes" if reached else "no")
    assert seen["service.state"] == ("down" if reached else missing)
    assert seen["response.time"] == seen["certificate.remaining"] == missing


def test_readings_found_before_the_attempt_broke_off_are_kept() -> None:
    async def check(attempt: Attempt) -> None:
        attempt.reached, attempt.found["certificate.remaining"] = True, 60.0
        await asyncio.Event().wait()

    seen = attempted(check)
    assert seen["service.state"] == "down"
    assert seen["certificate.remaining"] == 60.0
    assert why(seen) == "connected, but no whole answer within 0.2 s"


def test_a_text_of_the_service_is_cut_to_one_short_line() -> None:
    missing = CheckFailed(Reason.MALFORMED, "a\nb" + "x" * 500).missing
    assert "\n" not in missing.detail
    assert len(missing.detail) <= 200


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.0.0.7", ("10.0.0.7", 80)),
        ("10.0.0.7:8080", ("10.0.0.7", 8080)),
        ("db.room:1", ("db.room", 1)),
        ("[fe80::1]:8080", ("fe80::1", 8080)),
        ("[fe80::1]", ("fe80::1", 80)),
        ("fe80::1", ("fe80::1", 80)),
    ],
)
def test_an_address_is_split_into_host_and_port(address: str, found: tuple[str, int]) -> None:
    assert Device("d", "a", Category.SERVICE, "tcp", address).endpoint(80) == found


@pytest.mark.parametrize("address", ["a:", "a:b", "a:0", "a:65536", "a:-1", "a:٣"])
def test_a_wrong_port_is_refused(address: str) -> None:
    with pytest.raises(CheckFailed, match="is not HOST or HOST:PORT"):
        endpoint(Device("d", "a", Category.SERVICE, "tcp", address), 80)


def test_an_unknown_name_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for kind in ("icmp", "tcp", "http"):
        seen = asyncio.run(look(service(kind, "db.nowhere:80")))
        assert seen["device.answering"] == "no"
        assert reason(seen["response.time"]) is Reason.UNREACHABLE
        assert why(seen) == "the name db.nowhere is not known to the resolver"


def test_without_ipv6_in_the_kernel_the_ipv4_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnlyV4(socket.socket):
        def __init__(self, family: int = -1, *others: Any, **named: Any) -> None:
            if family == V6:
                raise OSError(errno.EAFNOSUPPORT, "no IPv6")
            super().__init__(family, *others, **named)

    async def run() -> dict[str, Value]:
        async with listening(mute) as address:
            port = int(address.rpartition(":")[2])

            async def both(*_: object) -> Any:
                return [(V6, ("::1", port, 0, 0)), (V4, ("127.0.0.1", port))]

            monkeypatch.setattr(service_module, "look_up", both)
            monkeypatch.setattr(socket, "socket", OnlyV4)
            try:
                return await look(service("tcp", f"db.room:{port}"))
            finally:
                monkeypatch.undo()

    assert asyncio.run(run())["service.state"] == "up"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_does_not_wait_for_the_resolver(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        def busy(*_: object, **__: object) -> None:
            raise AssertionError

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", busy)  # slow name servers block its few threads
        found = await look_up(host, 7, socket.SOCK_STREAM)
        assert [address[:2] for _, address in found] == [(host, 7)]

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["icmp", "tcp", "http", "process", "systemd", "postgresql", "mysql", "redis"])
def test_every_reading_is_in_the_catalogue_and_the_series_stay_the_same(kind: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "process": {"process": Process("x")}, "systemd": {"systemd": Systemd(("a", "b"))},
        "postgresql": {"database": Database()}, "mysql": {"database": Database()},
    }  # fmt: skip
    own = options.get(kind, {})
    device = service(kind, "127.0.0.1:1" if PROBE_KINDS[kind].address else "", timeout_s=0.5, **own)
    first, second = swept(probe_of(kind), device, 2)
    assert first.series is second.series
    assert first.series[0].quantity == "device.answering"
    for reading in first.readings():
        quantity = QUANTITIES[reading.series.quantity]
        assert not isinstance(reading.value, str) or reading.value in quantity.states
        assert not isinstance(reading.value, float) or not quantity.states


# ---- the server's text is replaced by ours ----


@pytest.mark.parametrize(
    ("message", "ours"),
    [
        ('FATAL:  password authentication failed for user "bob"', "user or password wrong"),
        ('FATAL:  role "bob" does not exist', "user or password wrong"),
        ("fe_sendauth: no password supplied", "user or password wrong"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "bob", database "x", no encryption', "pg_hba.conf"),
        ('FATAL:  database "bob" does not exist', "no database of that name"),
        ("FATAL:  sorry, too many clients already", "no connection left"),
        ("FATAL:  remaining connection slots are reserved for non-replication superuser connections", "no connection left"),
        ("FATAL:  the database system is starting up", "starting up or shutting down"),
        ("SSL error: certificate verify failed", "certificate not accepted"),
        ("server does not support SSL, but SSL was required", "does not speak TLS"),
        ('致命错误:  用户 "bob" Password 认证失败', "the server's own log says why"),
    ],
)  # fmt: skip
def test_a_refused_login_never_quotes_the_user(message: str, ours: str) -> None:
    missing = postgresql.login_refused(f'connection to server at "10.0.0.7", port 5432 failed: {message}').missing
    assert missing.reason is Reason.REFUSED
    assert ours in missing.detail
    assert "bob" not in missing.detail


# ---- options of the inventory ----


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (Http(path="login"), "path"),
        (Http(status=(99,)), "status"),
        (Database(verify=False), "verify"),
        (Process("("), "matches"),
        (Systemd(()), "units"),
        (Systemd(("pg*",)), "units"),
    ],
)
def test_options_that_contradict_themselves_are_refused(options: Any, field: str) -> None:
    assert [name for name, _ in options.check()] == [field]


@pytest.mark.parametrize(
    ("address", "valid"),
    [
        ("a:80", True),
        ("[fe80::1]:80", True),
        ("10.0.0.7:1", True),
        ("a", False),
        ("fe80::1", False),
        ("[fe80::1]", False),
    ],
)
def test_a_tcp_probe_needs_a_port(address: str, *, valid: bool) -> None:
    assert [field for field, _ in service("tcp", address).check_kind()] == ([] if valid else ["address"])


@pytest.mark.parametrize(
    "options", [Http(), Http(status=(200, 401)), Database(tls=True, verify=False), Process("a"), Systemd(("a.b",))]
)
def test_valid_options_have_no_problems(options: Any) -> None:
    assert list(options.check()) == []
