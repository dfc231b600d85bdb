"""`watchkeeper discover CIDR`: find devices, identify them, and write their part of inventory.yml."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from watchkeeper.agent.tools.target import COMMUNITY_PREFIX, Target, parse_target
from watchkeeper.model.plain import printable

if TYPE_CHECKING:
    from watchkeeper.agent.tools.discover import FoundDevice

HOST = "HOST"
COMMUNITY = "room-community"


@click.command()
@click.argument("network", metavar="CIDR")
@click.option(
    "--as", "logins", multiple=True, default=(f"snmp://public@{HOST}",), show_default=True,
    help="A login, as a URL with HOST in it; several are tried in turn.",
)  # fmt: skip
@click.option("--agent", default="room-1", show_default=True, help="The agent that will read them.")
@click.option("--owner", default="TODO", show_default=True, help="The person who owns them.")
@click.option(
    "--community-name", default=COMMUNITY, show_default=True, help="The name of the secret for the community in a URL."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the stanza of inventory.yml to this file instead of printing it.",
)
@click.option(
    "--secrets", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A file with secrets, mode 0600."
)
def discover(
    *,
    network: str,
    logins: Sequence[str],
    agent: str,
    owner: str,
    community_name: str,
    out: Path | None,
    secrets: Path | None,
) -> None:
    """Ask every address of CIDR by SNMP and IPMI, and write the stanza of inventory.yml for the devices that answer.

    The stanza does not contain the community of a URL, but --community-name: give the agent a secret with that name.
    For a URL with `?community=NAME` the community is looked up among the secrets, and the stanza contains NAME.
    """
    from watchkeeper.agent.tools import discover as finding
    from watchkeeper.documents.secrets import Secrets
    from watchkeeper.profiles import load_profiles

    try:
        hosts = finding.addresses(network)
        asked = [_login(login) for login in logins]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    environ = {key: text for login in asked for key, text in login(hosts[0]).environ.items()}
    all_secrets = Secrets(secrets, {**os.environ, **environ})
    found = asyncio.run(finding.find(hosts, asked, all_secrets, load_profiles()))
    for device in found:
        click.echo(printable(_line(device)), err=out is None)
    click.echo(_summary(len(found), len(hosts)), err=out is None)
    lines = finding.stanza([_named(device, community_name) for device in found], agent, owner)
    text = "".join(printable(line) + "\n" for line in lines) if found else ""
    if out is None:
        click.echo(text, nl=False)
    elif found:
        out.write_text(text, encoding="utf-8")


def _summary(found: int, hosts: int) -> str:
    asked = "1 address" if hosts == 1 else f"{hosts} addresses"
    if found == 0:
        return (
            f"no device answers ({asked}): check that SNMP or IPMI is switched on, that the community is right, "
            "and that the devices allow this machine"
        )
    return f"{found} device{'s' * (found > 1)} answer{'s' * (found == 1)} ({asked})"


def _login(url: str) -> Callable[[str], Target]:
    """A function that makes the target of a host from that URL. Raises ValueError."""
    sample = parse_target(url)
    if sample.device.snmp is None or HOST.lower() not in sample.device.address.lower():
        raise ValueError(f"{sample.masked}: write an snmp:// URL with {HOST} in place of the address")
    return partial(_at, sample)


def _at(sample: Target, host: str) -> Target:
    port = sample.device.address.rpartition(":")[2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return replace(sample, device=replace(sample.device, device=address, address=address))


def _named(device: "FoundDevice", name: str) -> "FoundDevice":
    """The device with `name` as the secret of a community that was in the URL."""
    if device.snmp is None or not device.snmp.community.startswith(COMMUNITY_PREFIX):
        return device
    return replace(device, snmp=replace(device.snmp, community=name))


def _line(device: "FoundDevice") -> str:
    profile = device.profile
    what = f"{profile.vendor} {profile.category} ({profile.profile})" if profile else "no profile fits"
    return f"{device.address:<21} {what}: {device.name or '-'}, {device.description[:60]}"
