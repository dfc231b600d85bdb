"""The probe of each kind. It is built when a device first needs it: the module of an unused kind is never imported."""

from collections.abc import Collection, Mapping
from importlib import import_module

from watchkeeper.agent.ports import Probe, ProbeContext
from watchkeeper.model.device import PROBE_KINDS

BY_PROFILE = frozenset({"snmp", "modbus", "nut"})
"""Kinds that read by profiles. Their probes are built again when the profiles change."""

_MODULES = {
    "host": "host.probe",
    "snmp": "snmp.probe",
    "ipmi": "ipmi.probe",
    "modbus": "modbus.probe",
    "nut": "nut",
    **{
        kind: f"services.{kind}"
        for kind in ("icmp", "tcp", "http", "process", "systemd", "postgresql", "mysql", "redis")
    },
}
"""The module of each kind, inside `agent/probes/`."""


def build(kind: str, context: ProbeContext) -> Probe:
    """The probe of that kind. Raises ConfigError where the operator's profiles have mistakes."""
    probe: Probe = import_module(f"watchkeeper.agent.probes.{_MODULES[kind]}").build(context)
    return probe


def build_all(
    kinds: Collection[str], context: ProbeContext, existing: Mapping[str, Probe], *, new_profiles: bool
) -> dict[str, Probe]:
    """The probes of these kinds. `existing` ones are reused, except those that read by profiles if there are
    `new_profiles`. A kind that this agent does not know is left out."""
    return {
        kind: existing[kind] if kind in existing and not (new_profiles and kind in BY_PROFILE) else build(kind, context)
        for kind in kinds
        if kind in PROBE_KINDS
    }
