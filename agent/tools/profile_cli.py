"""`watchkeeper profile new|check|record`: teach Watchkeeper a device it does not know. Needs no configuration."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from watchkeeper.model.plain import printable
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Value

if TYPE_CHECKING:
    from watchkeeper.agent.probes.snmp.engine import SnmpSession
    from watchkeeper.agent.probes.snmp.plan import DeviceReader
    from watchkeeper.agent.probes.snmp.trial import TrialReading
    from watchkeeper.agent.tools.draft import Subject
    from watchkeeper.agent.tools.target import Target
    from watchkeeper.documents.secrets import Secrets
    from watchkeeper.model.device import Device
    from watchkeeper.profiles import Profile, Profiles
    from watchkeeper.profiles.decode import Raw

T = TypeVar("T")

WALK_ROWS = 50_000
MIB_2, ENTERPRISES = "1.3.6.1.2.1", "1.3.6.1.4.1"
STANDARD = ("ups-mib", "entity-sensor", "host-resources", "if-mib")
_SECRETS = click.option(
    "--secrets", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A file, mode 0600, with secrets."
)


@click.group()
def profile() -> None:
    """Draft, check and record: teach Watchkeeper a device it does not know (docs/profiles.md)."""


@profile.command()
@click.argument("where", metavar="TARGET|RECORDING")
@click.option(
    "--name", default="new-device", show_default=True, help="What the profile is to be called: a-z, 0-9, `-`."
)
@_SECRETS
def new(where: str, name: str, secrets: Path | None) -> None:
    """Walk an unknown device (an snmp:// URL, or a .snmprec file) and print a first draft of its profile."""
    from watchkeeper.agent.tools.draft import draft, sort_out

    async def look(reach: "DeviceReader") -> None:
        subject, known, objects = await _walked(reach)
        if known:
            click.echo(
                f"# The shipped profile `{known.profile}` ({known.vendor} {known.category}) already fits it.", err=True
            )
        for line in draft(name, subject, sort_out(objects)):
            click.echo(printable(line))

    _with(where, secrets, look)


@profile.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("where", metavar="[TARGET|RECORDING]", required=False)
@_SECRETS
def check(file: Path, where: str | None, secrets: Path | None) -> None:
    """Check a profile; with a device or a recording, show raw -> decoded for every reading it gives there."""
    from watchkeeper.agent.probes.snmp.trial import try_profile
    from watchkeeper.agent.tools.draft import counted
    from watchkeeper.documents.files import read_documents
    from watchkeeper.profiles import load_profiles

    (document,) = read_documents([file])
    profiles = load_profiles([document])
    name = _name_of(document.text)
    made = profiles.get(name)
    if made is None:
        raise click.ClickException(f"{file}: `{name}` is a base for others: it says ROOT and has no `root` of its own")
    seen = ", ".join(one.model for one in made.verified) or "none"
    click.echo(
        f"{file}: {name} is sound: {made.vendor} {made.category}, {counted(len(made.readings), 'reading')}; verified: {seen}"
    )
    if where is None:
        return

    async def read(reach: "DeviceReader") -> None:
        from watchkeeper.agent.probes.snmp.plan import recognise

        picked, described = await recognise(reach, profiles)
        said = f"`{picked.profile}`" if picked else "no profile"
        click.echo(
            f"the device ({described}) is recognised by {said}"
            + ("" if picked is made else f", not by `{name}`: see `match`")
        )
        for line in _shown(await try_profile(reach, made)):
            click.echo(printable(line))

    _with(where, secrets, read)


@profile.command()
@click.argument("where", metavar="TARGET")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The .snmprec file to write."
)
@click.option("--rows", default=WALK_ROWS, show_default=True, help="At most so many objects.")
@_SECRETS
def record(where: str, out: Path, rows: int, secrets: Path | None) -> None:
    """Save what a device answers as a recording, without names, places, contacts, addresses and the community."""
    from watchkeeper.agent.probes.snmp.probe import login_to
    from watchkeeper.agent.probes.snmp.pysnmp_engine import PysnmpSession
    from watchkeeper.agent.tools.recording import redacted
    from watchkeeper.agent.tools.target import parse_target

    target = _target(where, parse_target)

    async def walk() -> list[str]:
        login = await login_to(target.device, _secrets(target, secrets))
        session = PysnmpSession(login)
        try:
            found = [row for base in (MIB_2, ENTERPRISES) for row in await session.record(base, rows)]
        finally:
            session.close()
        return list(redacted(found, login.community, login.auth_password, login.priv_password))

    lines = _run(walk())
    out.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    click.echo(
        f"{out}: {len(lines)} objects of {target.masked}. Look through it before you pass it on: a maker may keep names elsewhere."
    )


# ---- devices and recordings, behind one door ----


def _with(where: str, secrets: Path | None, use: Callable[["DeviceReader"], Awaitable[None]]) -> None:
    """Call `use` with the device or the recording."""
    from watchkeeper.agent.probes.snmp.plan import DeviceReader
    from watchkeeper.agent.probes.snmp.probe import open_snmp_session
    from watchkeeper.agent.tools.target import parse_target
    from watchkeeper.model.device import Category, Device, Snmp, SnmpVersion

    async def live(device: "Device", held: "Secrets") -> None:
        session = await open_snmp_session(device, held)
        try:
            await use(DeviceReader(session, device, device.snmp.version if device.snmp else SnmpVersion.V2C))
        finally:
            session.close()

    if where.startswith("snmp://"):
        target = _target(where, parse_target)
        _run(live(target.device, _secrets(target, secrets)))
        return
    device = Device(Path(where).stem, "probe", Category.SERVER, "snmp", "recording", snmp=Snmp(community="none"))
    _run(use(DeviceReader(_recorded(Path(where)), device, SnmpVersion.V2C)))


def _recorded(file: Path) -> "SnmpSession":
    from watchkeeper.agent.probes.testing import MemorySession, read_snmprec
    from watchkeeper.model.device import SnmpVersion

    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise click.ClickException(f"{file}: neither an snmp:// URL nor a recording: {error.strerror}") from None
    objects = read_snmprec(lines)
    if not objects:
        raise click.ClickException(
            f"{file}: no recording: its lines are OID|TYPE|VALUE, see docs/examples/coldwatch.snmprec"
        )
    return MemorySession(objects, SnmpVersion.V2C, lambda: None)


def _target(where: str, parse: "Callable[[str], Target]") -> "Target":
    try:
        target = parse(where)
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


def _run(work: Awaitable[T]) -> T:
    """Do it; a device that does not answer is a sentence."""
    from watchkeeper.agent.ports import NoAnswer

    async def awaited() -> T:
        return await work

    try:
        return asyncio.run(awaited())
    except NoAnswer as nothing:
        raise click.ClickException(f"{nothing.missing.reason}: {nothing.missing.detail}") from None


# ---- new ----


async def _walked(reach: "DeviceReader") -> "tuple[Subject, Profile | None, Mapping[str, Raw]]":
    """Who the device is, the shipped profile that fits, and what it answers beyond the standard MIBs."""
    from watchkeeper.agent.probes.snmp.plan import SYS_DESCR, SYS_OBJECT_ID, recognise
    from watchkeeper.agent.tools.draft import Subject
    from watchkeeper.profiles import load_profiles
    from watchkeeper.profiles.decode import raw_text

    profiles = load_profiles()
    system = await reach.get((SYS_DESCR, SYS_OBJECT_ID))
    known, _ = await recognise(reach, profiles)
    fits = dict([fit async for fit in _fits(reach, profiles)])
    objects = dict(await reach.session.walk(ENTERPRISES, WALK_ROWS))
    subject = Subject(raw_text(system.get(SYS_OBJECT_ID, "")).strip("."), raw_text(system.get(SYS_DESCR, "")), fits)
    return subject, known, objects


async def _fits(reach: "DeviceReader", profiles: "Profiles") -> AsyncIterator[tuple[str, int]]:
    from watchkeeper.agent.probes.snmp.trial import try_profile

    for name in STANDARD:
        standard = profiles.get(name)
        if standard:
            good = [one for one in await try_profile(reach, standard) if not isinstance(one.value, Missing)]
            count = sum(one.series.quantity != "uptime" for one in good)
            if count:
                yield name, count


# ---- check ----


def _name_of(text: str) -> str:
    import yaml

    return str(yaml.safe_load(text)["profile"])


def _shown(tried: "Sequence[TrialReading]") -> Iterator[str]:
    from watchkeeper.agent.tools.draft import counted

    rows = [
        (one.series.quantity, one.series.label or one.series.instance, one.series.source, _raw(one), _said(one))
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


def _said(one: "TrialReading") -> str:
    value: Value = one.value
    if isinstance(value, Missing):
        return f"missing: {value.reason}, {value.detail}"
    quantity = QUANTITIES[one.series.quantity]
    if isinstance(value, str):
        level = quantity.levels[value]
        return f"{value} ({level})" if level.bad and value != level else value
    return f"{value:g} {quantity.unit.symbol}".rstrip()
