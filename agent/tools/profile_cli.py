"""`watchkeeper profile new|check|record`: make a profile for an unknown device. Needs no configuration."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from watchkeeper.model.plain import printable
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Value

if TYPE_CHECKING:
    from watchkeeper.agent.probes.snmp.engine import SnmpSession
    from watchkeeper.agent.probes.snmp.plan import DeviceReader
    from watchkeeper.agent.probes.snmp.trial import TrialReading
    from watchkeeper.agent.tools.draft import DeviceIdentity
    from watchkeeper.agent.tools.target import Target
    from watchkeeper.documents.secrets import Secrets
    from watchkeeper.model.device import Device
    from watchkeeper.profiles import Profile, Profiles
    from watchkeeper.profiles.decode import Raw

T = TypeVar("T")

MAX_OBJECTS = 50_000
MIB_2, ENTERPRISES = "1.3.6.1.2.1", "1.3.6.1.4.1"
STANDARD = ("ups-mib", "entity-sensor", "host-resources", "if-mib")
_SECRETS = click.option(
    "--secrets", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A file with secrets, mode 0600."
)


@click.group()
def profile() -> None:
    """Draft and check the profile of an unknown device, and record the device (docs/profiles.md)."""


@profile.command()
@click.argument("where", metavar="TARGET|RECORDING")
@click.option("--name", default="new-device", show_default=True, help="The name of the profile: a-z, 0-9, `-`.")
@_SECRETS
def new(where: str, name: str, secrets: Path | None) -> None:
    """Walk an unknown device (an snmp:// URL, or a .snmprec file) and print a first draft of its profile."""
    from watchkeeper.agent.tools.draft import draft, sort_objects

    async def walk(reader: "DeviceReader") -> None:
        identity, fitting, objects = await _walk(reader)
        if fitting:
            what = f"`{fitting.profile}` ({fitting.vendor} {fitting.category})"
            click.echo(f"# The shipped profile {what} already fits it.", err=True)
        for line in draft(name, identity, sort_objects(objects)):
            click.echo(printable(line))

    _with_reader(where, secrets, walk)


@profile.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("where", metavar="[TARGET|RECORDING]", required=False)
@_SECRETS
def check(file: Path, where: str | None, secrets: Path | None) -> None:
    """Check a profile. With a device or a recording, show every reading of the profile: raw -> decoded."""
    from watchkeeper.agent.probes.snmp.trial import try_profile
    from watchkeeper.agent.tools.draft import counted
    from watchkeeper.documents.files import read_documents
    from watchkeeper.profiles import load_profiles

    (document,) = read_documents([file])
    profiles = load_profiles([document])
    name = _name_of(document.text)
    checked = profiles.get(name)
    if checked is None:
        raise click.ClickException(f"{file}: `{name}` is only a base for others: it uses ROOT and has no `root`")
    verified = ", ".join(device.model for device in checked.verified) or "none"
    readings = counted(len(checked.readings), "reading")
    click.echo(f"{file}: {name} is valid: {checked.vendor} {checked.category}, {readings}; verified: {verified}")
    if where is None:
        return

    async def read(reader: "DeviceReader") -> None:
        from watchkeeper.agent.probes.snmp.recognise import recognise

        known = await recognise(reader, profiles)
        by = f"`{known.profile.profile}`" if known.profile else "no profile"
        hint = "" if known.profile is checked else f", not by `{name}`: see `match`"
        click.echo(f"the device ({known.described}) is recognised by {by}{hint}")
        for line in _trial_lines(await try_profile(reader, checked)):
            click.echo(printable(line))

    _with_reader(where, secrets, read)


@profile.command()
@click.argument("where", metavar="TARGET")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The .snmprec file to write."
)
@click.option("--rows", default=MAX_OBJECTS, show_default=True, help="The largest number of objects to save.")
@_SECRETS
def record(where: str, out: Path, rows: int, secrets: Path | None) -> None:
    """Save a device's objects as a recording, without names, places, contacts, addresses and the community."""
    from watchkeeper.agent.probes.snmp.opening import login_to
    from watchkeeper.agent.probes.snmp.pysnmp_engine import PysnmpSession
    from watchkeeper.agent.tools.recording import redacted

    target = _target(where)

    async def walk() -> list[str]:
        login = await login_to(target.device, _secrets(target, secrets))
        session = PysnmpSession(login)
        try:
            objects = [row for base in (MIB_2, ENTERPRISES) for row in await session.record(base, rows)]
        finally:
            session.close()
        return list(redacted(objects, login.community, login.auth_password, login.priv_password))

    lines = _run(walk())
    out.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    click.echo(
        f"{out}: {len(lines)} objects of {target.masked}. Read it before you pass it on: a vendor may keep names in other objects."
    )


# ---- devices and recordings ----


def _with_reader(where: str, secrets: Path | None, use: Callable[["DeviceReader"], Coroutine[Any, Any, None]]) -> None:
    """Call `use` with a reader of the device or the recording."""
    from watchkeeper.agent.probes.snmp.opening import open_snmp_session
    from watchkeeper.agent.probes.snmp.plan import DeviceReader
    from watchkeeper.model.device import Category, Device, Snmp, SnmpVersion

    async def live(device: "Device", known_secrets: "Secrets") -> None:
        session = await open_snmp_session(device, known_secrets)
        try:
            await use(DeviceReader(session, device, device.snmp.version if device.snmp else SnmpVersion.V2C))
        finally:
            session.close()

    if where.startswith("snmp://"):
        target = _target(where)
        _run(live(target.device, _secrets(target, secrets)))
        return
    device = Device(Path(where).stem, "probe", Category.SERVER, "snmp", "recording", snmp=Snmp(community="none"))
    _run(use(DeviceReader(_recording(Path(where)), device, SnmpVersion.V2C)))


def _recording(file: Path) -> "SnmpSession":
    from watchkeeper.agent.probes.testing import MemorySession, read_snmprec
    from watchkeeper.model.device import SnmpVersion

    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise click.ClickException(f"{file}: neither an snmp:// URL nor a recording: {error.strerror}") from None
    objects = read_snmprec(lines)
    if not objects:
        raise click.ClickException(
            f"{file}: not a recording: its lines must be OID|TYPE|VALUE, see docs/examples/coldwatch.snmprec"
        )
    return MemorySession(objects, SnmpVersion.V2C, lambda: None)


def _target(where: str) -> "Target":
    from watchkeeper.agent.tools.target import parse_target

    try:
        target = parse_target(where)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="TARGET") from None
    if target.device.snmp is None:
        raise click.BadParameter(
            f"{target.masked}: profiles are for SNMP devices; write an snmp:// URL", param_hint="TARGET"
        )
    return target


def _secrets(target: "Target", file: Path | None) -> "Secrets":
    from watchkeeper.documents.secrets import Secrets

    return Secrets(file, {**os.environ, **target.environ})


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run it. Raises ClickException where the device does not answer."""
    from watchkeeper.agent.ports import NoAnswer

    try:
        return asyncio.run(work)
    except NoAnswer as error:
        raise click.ClickException(f"{error.missing.reason}: {error.missing.detail}") from None


# ---- new ----


async def _walk(reader: "DeviceReader") -> "tuple[DeviceIdentity, Profile | None, Mapping[str, Raw]]":
    """The device's identity, the shipped profile that fits it, and its objects beyond the standard MIBs."""
    from watchkeeper.agent.probes.snmp.recognise import SYS_DESCR, SYS_OBJECT_ID, recognise
    from watchkeeper.agent.tools.draft import DeviceIdentity
    from watchkeeper.profiles import load_profiles
    from watchkeeper.profiles.decode import raw_text

    profiles = load_profiles()
    system = await reader.get((SYS_DESCR, SYS_OBJECT_ID))
    fitting = (await recognise(reader, profiles)).profile
    fits = dict([fit async for fit in _fits(reader, profiles)])
    objects = dict(await reader.session.walk(ENTERPRISES, MAX_OBJECTS))
    identity = DeviceIdentity(
        raw_text(system.get(SYS_OBJECT_ID, "")).strip("."), raw_text(system.get(SYS_DESCR, "")), fits
    )
    return identity, fitting, objects


async def _fits(reader: "DeviceReader", profiles: "Profiles") -> AsyncIterator[tuple[str, int]]:
    from watchkeeper.agent.probes.snmp.trial import try_profile

    for name in STANDARD:
        standard = profiles.get(name)
        if standard:
            tried = await try_profile(reader, standard)
            good = [one for one in tried if not isinstance(one.value, Missing)]
            count = sum(one.series.quantity != "uptime" for one in good)
            if count:
                yield name, count


# ---- check ----


def _name_of(text: str) -> str:
    import yaml

    return str(yaml.safe_load(text)["profile"])


def _trial_lines(tried: "Sequence[TrialReading]") -> Iterator[str]:
    from watchkeeper.agent.tools.draft import counted

    rows = [
        (one.series.quantity, one.series.label or one.series.instance, one.series.source, _raw(one), _value_text(one))
        for one in tried
    ]
    wide = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for row in rows:
        yield "  " + "  ".join(f"{text:<{width}}" for text, width in zip(row, wide, strict=False)) + f"  -> {row[4]}"
    bad = sum(isinstance(one.value, Missing) for one in tried)
    yield f"{counted(len(rows), 'reading')}, {bad} of them missing"


def _raw(one: "TrialReading") -> str:
    from watchkeeper.profiles.decode import LONGEST_SHOWN, raw_text

    return "nothing" if one.raw is None else raw_text(one.raw)[:LONGEST_SHOWN]


def _value_text(one: "TrialReading") -> str:
    value: Value = one.value
    if isinstance(value, Missing):
        return f"missing: {value.reason}, {value.detail}"
    quantity = QUANTITIES[one.series.quantity]
    if isinstance(value, str):
        level = quantity.levels[value]
        return f"{value} ({level})" if level.bad and value != level else value
    return f"{value:g} {quantity.unit.symbol}".rstrip()
