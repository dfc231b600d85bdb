"""The probe of each kind, built when a device first needs it: what no device needs is never imported."""

from collections.abc import Collection, Mapping
from importlib import import_module

from watchkeeper.agent.ports import Probe, ProbeContext
from watchkeeper.model.device import PROBE_KINDS

BY_PROFILE = frozenset({"snmp", "modbus", "nut"})
"""Kinds that read by profiles, and are built anew where those change."""


_MODULES = {
    "host": "host.probe",
    "snmp": "snmp.probe",
    "ipmi": "ipmi.probe",
    "modbus": "modbus",
    "nut": "nut",
    **{
        kind: f"services.{kind}"
        for kind in ("icmp", "tcp", "http", "process", "systemd", "postgresql", "mysql", "redis")
    },
}
"""The module of each kind, inside `agent/probes/`."""


def build(kind: str, context: ProbeContext) -> Probe:
    """The probe of that kind. Raises ConfigError where the operator's profiles are wrong."""
    probe: Probe = import_module(f"watchkeeper.agent.probes.{_MODULES[kind]}").build(context)
    return probe


def build_all(
    kinds: Collection[str], context: ProbeContext, held: Mapping[str, Probe], *, relearn: bool
) -> dict[str, Probe]:
    """The probes of these kinds, those that are held already kept; with `relearn` not those that read by profiles. A kind
    this agent does not know is left out."""
    return {
        kind: held[kind] if kind in held and not (relearn and kind in BY_PROFILE) else build(kind, context)
        for kind in kinds
        if kind in PROBE_KINDS
    }
