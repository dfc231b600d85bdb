"""The bundle that the collector sends to this agent (docs/protocol.md, "The bundle"): decoded, or refused as a whole,
and kept on disk."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from watchkeeper.documents.bind import Spelling, bind
from watchkeeper.documents.nodes import json_node
from watchkeeper.documents.scalars import PARSERS, finite_float
from watchkeeper.model.batch import Bundle
from watchkeeper.model.device import Device
from watchkeeper.model.errors import WireError

_BUNDLE_SPELLING = Spelling(
    {str: str, bool: PARSERS[bool], int: PARSERS[int], float: finite_float}, "the bundle", typed=True, skip_unknown=True
)


def decode_bundle(data: Any, agent: str) -> Bundle:
    """Make a Bundle of parsed JSON. Unknown keys are skipped, so that a newer collector may send more. Raises WireError
    where the data is no bundle, or is the bundle of another agent."""
    bound = bind(json_node(data, "bundle"), Bundle, _BUNDLE_SPELLING)
    if bound.value is None:
        first = bound.problems[0]
        raise WireError(f"{first.file}: {first.message}")
    bundle = bound.value
    if bundle.agent != agent:
        raise WireError(f"bundle.agent: it is for {bundle.agent!r}, and this agent is {agent!r}")
    if not 0 < bundle.interval_s < 86_400:  # noqa: PLR2004 -- a day
        raise WireError("bundle.interval_s: must be above 0 and below a day, in seconds")
    names: set[str] = set()
    for device in bundle.devices:
        _check(device, agent)
        if device.device in names:
            raise WireError(f"bundle.devices: {device.device!r} is there twice")
        names.add(device.device)
    return bundle


def _check(device: Device, agent: str) -> None:
    where = f"bundle.devices: {device.device!r}"
    if not device.device or device.agent != agent:
        raise WireError(f"{where} belongs to agent {device.agent!r}; this agent reports only devices of {agent!r}")
    if not device.every_s > 0 or not device.timeout_s > 0 or device.retries < 0:
        raise WireError(f"{where}: every_s and timeout_s must be above 0, retries at least 0")


def load_bundle(file: Path, agent: str) -> Bundle | None:
    """The bundle kept on disk, or None where there is none. Raises WireError where it cannot be read or used."""
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
    """Replace the bundle on disk atomically; only its owner can read it. Raises OSError."""
    new = file.with_name(file.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump(dataclasses.asdict(bundle), out)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)
