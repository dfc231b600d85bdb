"""`watchkeeper discover CIDR`: find devices, say what they are, and write their part of the inventory."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from watchkeeper.agent.tools.target import Target, parse_target
from watchkeeper.model.plain import printable

if TYPE_CHECKING:
    from watchkeeper.agent.tools.discover import Found

HOST = "HOST"
COMMUNITY = "room-community"


@click.command()
@click.argument("network", metavar="CIDR")
@click.option(
    "--as", "logins", multiple=True, default=(f"snmp://public@{HOST}",), show_default=True,
    help="How to ask, as a URL with HOST in it; several are tried in turn.",
)  # fmt: skip
@click.option("--agent", default="room-1", show_default=True, help="The agent that is to read them.")
@click.option("--owner", default="TODO", show_default=True, help="The person who owns them.")
@click.option(
    "--community-name", default=COMMUNITY, show_default=True, help="What the secret with the community is to be called."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the inventory stanza there instead of printing it.",
)
@click.option(
    "--secrets", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A file, mode 0600, with secrets."
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
    """Ask every address of CIDR by SNMP and IPMI, and write the inventory of what answers.

    The community in a URL is not written down: the stanza has --community-name, and you give the agent the secret of that
    name. With `?community=NAME` in the URL it is found among the secrets, and the stanza has that name.
    """
    from watchkeeper.agent.tools import discover as finding
    from watchkeeper.documents.secrets import Secrets
    from watchkeeper.profiles import load_profiles

    try:
        hosts = finding.addresses(network)
        asked = [_login(login) for login in logins]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    environ = {key: text for one in asked for key, text in one(hosts[0]).environ.items()}
    held = Secrets(secrets, {**os.environ, **environ})
    found = asyncio.run(finding.find(hosts, asked, held, load_profiles()))
    for one in found:
        click.echo(printable(_line(one)), err=out is None)
    click.echo(_counted(len(found), len(hosts)), err=out is None)
    lines = finding.stanza([_named(one, community_name) for one in found], agent, owner)
    text = "".join(printable(line) + "\n" for line in lines) if found else ""
    if out is None:
        click.echo(text, nl=False)
    elif found:
        out.write_text(text, encoding="utf-8")


def _counted(found: int, hosts: int) -> str:
    among = "1 address" if hosts == 1 else f"{hosts} addresses"
    if found == 0:
        return f"no device answers among {among}: is SNMP or IPMI switched on there, the community right, this machine allowed?"
    return f"{found} device{'s' * (found > 1)} answer{'s' * (found == 1)} among {among}"


def _login(url: str) -> Callable[[str], Target]:
    """A target of any host by that URL. Raises ValueError."""
    sample = parse_target(url)
    if sample.device.snmp is None or HOST.lower() not in sample.device.address.lower():
        raise ValueError(f"{sample.masked}: write an snmp:// URL with {HOST} where the address belongs")
    return partial(_at, sample)


def _at(sample: Target, host: str) -> Target:
    port = sample.device.address.rpartition(":")[2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return replace(sample, device=replace(sample.device, device=address, address=address))


def _named(found: "Found", name: str) -> "Found":
    """A community that stood in the URL gets the name that its secret is to have."""
    if found.snmp is None or not found.snmp.community.startswith("probe-target-"):
        return found
    return replace(found, snmp=replace(found.snmp, community=name))


def _line(one: "Found") -> str:
    what = f"{one.profile.vendor} {one.profile.category} ({one.profile.profile})" if one.profile else "no profile fits"
    return f"{one.address:<21} {what}: {one.name or '-'}, {one.says[:60]}"
