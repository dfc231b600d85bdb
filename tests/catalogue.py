"""What texts people read that are not made in collector/web or collector/notify: reasons of probes, receipts, notes, errors."""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import yaml

from tests.text_finder import Finder, Found, Module, read_module
from watchkeeper.agent.probes.ipmi import states
from watchkeeper.collector.notify.filled import NESTED
from watchkeeper.model.reading import Reason

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("agent", "channels", "collector", "documents", "model", "profiles", "rules")
ONLY_IN_LOGS = (
    "agent/tools/",
    "agent/traps/",
    "channels/mail_inbox.py",
    "collector/commands/backup_cli.py",
    "collector/commands/changes_cli.py",
    "collector/cli.py",
    "collector/commands/drill.py",
    "collector/commands/http_cli.py",
    "collector/process/upkeep/backups.py",
    "collector/commands/set_aside_cli.py",
    "collector/commands/shared_cli.py",
    "collector/store/backups/",
    "rules/rule_tests.py",
)
"""Files whose errors are read on a terminal or in a log. These are English."""

TLS_ERRORS = (
    "certificate has expired", "certificate is not yet valid", "certificate revoked", "self-signed certificate",
    "self-signed certificate in certificate chain", "unable to get local issuer certificate", "unable to verify the first certificate",
    "Hostname mismatch, certificate is not valid for '{host}'.", "IP address mismatch, certificate is not valid for '{address}'.",
)  # fmt: skip
"""Why a certificate is not accepted, in the words of OpenSSL and of Python's `ssl`."""

OS_ERRORS = (
    "EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "EAGAIN", "EBADF", "EBUSY", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EDQUOT",
    "EHOSTDOWN", "EHOSTUNREACH", "EINVAL", "EIO", "EMFILE", "EMSGSIZE", "ENETDOWN", "ENETUNREACH", "ENFILE", "ENOBUFS", "ENODATA",
    "ENODEV", "ENOENT", "ENOMEM", "ENOSPC", "ENOTCONN", "ENOTDIR", "ENXIO", "EOPNOTSUPP", "EPERM", "EPIPE", "EREMOTEIO", "EROFS",
    "ESTALE", "ETIMEDOUT",
)  # fmt: skip
"""Errors of the operating system, whose texts (glibc's) reach people through ours."""

UNFOLLOWED: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("agent/probes/ipmi/probe.py", "error"): "Device.endpoint, which marks its text",
        ("agent/probes/modbus/probe.py", "error"): "Device.endpoint, which marks its text",
        (
            "agent/probes/modbus/probe.py",
            "held.misfit",
        ): "profiles.asked.misfit, which agent/probes/nut.py gives to a sink too",
        ("agent/probes/nut.py", "error"): "an error of the operating system, in OS_ERRORS",
        ("agent/probes/services/check.py", "error"): "Device.endpoint, which marks its text",
        ("agent/probes/services/check.py", "error.verify_message"): "TLS_ERRORS",
        (
            "agent/probes/services/postgresql.py",
            "next((ours for pattern, ours in _LOGIN_ERRORS if re.search(pattern, message)), _UNKNOWN_REFUSAL)",
        ): "a table of marked texts",
        ("agent/probes/snmp/gufo_engine.py", "error"): "an error of the operating system, in OS_ERRORS",
        ("agent/probes/snmp/opening.py", "error"): "an error of the operating system, in OS_ERRORS",
        ("agent/probes/snmp/usm_engine.py", "error"): "an error of the operating system, in OS_ERRORS",
        ("collector/notify/outbox.py", "error"): "a WatchkeeperError, found where it is raised",
        ("collector/notify/delivery/direct.py", "error"): "a WatchkeeperError, found where it is raised",
        ("collector/process/actions.py", "step.rung"): "a name in ladders.yml",
        ("collector/process/actions.py", "'; '.join(filter(None, (ticket, note)))"): "a person's own words",
        ("collector/process/actions.py", "'; '.join(filter(None, (cause, cure, note)))"): "a person's own words",
        ("agent/probes/snmp/pysnmp_engine.py", "problem"): "the words of a library",
        ("collector/site/load.py", "message"): "yielded by Device.check_kind, and followed there",
        ("documents/bind.py", "error"): "a ValueError of a parser, which is followed",
        ("documents/bind.py", "message"): "yielded by `check`, and followed there",
        ("documents/nodes.py", "' '.join(filter(None, (error.context, begun, error.problem)))"): "the words of libyaml",
        ("model/device.py", "error"): "model/pattern.py, which is followed",
        ("model/pattern.py", "error"): "the words of Python's `re`",
        ("model/pattern.py", "problem"): "marked where it is noted",
        ("rules/compile.py", "error"): "a ValueError, which is followed",
        ("rules/compile.py", "state"): "a name",
        ("rules/entries.py", "error"): "a ValueError, which is followed",
        ("model/wire.py", "text"): "what an agent sends",
        ("rules/evaluate.py", "detail"): "what this file has stored",
        (
            "rules/judge.py",
            "next((value.detail for value in sweep.values if isinstance(value, Missing) and value.detail), '')",
        ): "the detail of a Missing",
        ("rules/judge.py", "reason"): "given to Judge.remove, and marked in agent/main.py and rules/presence.py",
    }
)
"""Expressions that cannot be followed, and why no text is lost with them: (file, expression) -> where their texts are found."""


@cache
def modules() -> dict[str, Module]:
    """All files of the package, by path."""
    files = (
        path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) if "migrations" not in path.parts
    )
    return {module.name: module for module in (read_module(path, ROOT) for path in files)}


def in_code() -> list[Found]:
    """Every text of the code that reaches a sink, and every expression that cannot be followed."""
    return [one for one in Finder(modules()).find() if not one.where.startswith(ONLY_IN_LOGS)]


def in_tables() -> Iterator[Found]:
    """Texts that the code has in tables: reasons, errors of the operating system, titles of traps, states of IPMI."""
    yield from (Found("model/reading.py", reason.value) for reason in Reason)
    yield from (Found("the operating system", os.strerror(getattr(errno, name))) for name in OS_ERRORS)
    yield from (Found("OpenSSL", text) for text in TLS_ERRORS)
    yield from (Found("agent/probes/ipmi/states.py", text) for text in states.texts())
    yield Found("asyncio", "Connect call failed {address}")
    yield Found("the operating system", "[Errno {errno}] {strerror}")
    known = ROOT / "agent" / "traps" / "known.yml"
    for trap in yaml.safe_load(known.read_text(encoding="utf-8"))["traps"]:
        if "title" in trap:
            yield Found("agent/traps/known.yml", trap["title"])
            if "key" in trap:
                yield Found("agent/traps/known.yml", f"{trap['title']} {{key}}")


def shape(template: str) -> str:
    """The template without the names of its placeholders. What counts is where they are, and whether their content is translated."""
    return re.sub(r"(?<!{){(\w+)}", lambda found: "{~}" if found[1] in NESTED else "{}", template)
