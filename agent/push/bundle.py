"""The agent's share as the collector hands it out (docs/protocol.md, "The bundle"): read, refused whole, kept on disk."""

import contextlib
import dataclasses
import enum
import json
import os
import types
import typing
from pathlib import Path
from typing import Any

from watchkeeper.model.batch import Bundle
from watchkeeper.model.device import Device
from watchkeeper.model.errors import WireError


def decode_bundle(data: Any, agent: str) -> Bundle:
    """Make a Bundle of parsed JSON. Raises WireError where it is none, or another agent's."""
    bundle: Bundle = _record(Bundle, data, "bundle")
    if bundle.agent != agent:
        raise WireError(f"bundle.agent: it is for {bundle.agent!r}, and this agent is {agent!r}")
    if not 0 < bundle.interval_s < 86_400:  # noqa: PLR2004 -- a day
        raise WireError("bundle.interval_s: must lie between 0 and a day, in seconds")
    for field, message in bundle.traps.check() if bundle.traps else ():
        raise WireError(f"bundle.traps.{field}: {message}")
    seen: set[str] = set()
    for device in bundle.devices:
        _check(device, agent)
        if device.device in seen:
            raise WireError(f"bundle.devices: {device.device!r} stands twice")
        seen.add(device.device)
    return bundle


def _check(device: Device, agent: str) -> None:
    where = f"bundle.devices: {device.device!r}"
    if not device.device or device.agent != agent:
        raise WireError(f"{where} belongs to agent {device.agent!r}; this agent speaks only of devices of {agent!r}")
    if not device.every_s > 0 or not device.timeout_s > 0 or device.retries < 0:
        raise WireError(f"{where}: every_s and timeout_s must be above 0, retries at least 0")
    for options, field, message in device.check_options():
        raise WireError(f"{where}: {options}.{field}: {message}")


def _record(cls: Any, raw: Any, where: str) -> Any:
    """A dataclass of a JSON object; unknown keys are passed over, so that a newer collector may say more."""
    if not isinstance(raw, dict):
        raise WireError(f"{where}: expected an object")
    hints = typing.get_type_hints(cls)
    made: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.name in raw:
            made[field.name] = _value(hints[field.name], raw[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise WireError(f"{where}.{field.name}: is missing")
    return cls(**made)


def _value(wanted: Any, raw: Any, where: str) -> Any:
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (option for option in typing.get_args(wanted) if option is not type(None))
        return None if raw is None else _value(inner, raw, where)
    if origin is tuple:
        if not isinstance(raw, list):
            raise WireError(f"{where}: expected an array")
        inner = typing.get_args(wanted)[0]
        return tuple(_value(inner, item, f"{where}[{index}]") for index, item in enumerate(raw))
    if dataclasses.is_dataclass(wanted):
        return _record(wanted, raw, where)
    if wanted is float and isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        with contextlib.suppress(ValueError):
            return wanted(raw)
    elif wanted is not float and type(raw) is wanted:
        return raw
    raise WireError(f"{where}: cannot be {raw!r}")


def load_bundle(file: Path, agent: str) -> Bundle | None:
    """The bundle kept on disk, or None where there is none. Raises WireError where it cannot be used."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise WireError(f"{file}: cannot be read: {error}") from None
    try:
        return decode_bundle(json.loads(text), agent)
    except (ValueError, WireError) as error:
        raise WireError(f"{file}: {error}") from None


def keep_bundle(file: Path, bundle: Bundle) -> None:
    """Replace the bundle on disk at one stroke; only its owner can read it. Raises OSError."""
    fresh = file.with_name(file.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump(dataclasses.asdict(bundle), out)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)
