"""The registers of a profile, and the requests that cover them. Pure."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from watchkeeper.profiles import Profile
from watchkeeper.profiles.decode import Raw
from watchkeeper.profiles.scalars import Register

REGISTERS_PER_REQUEST = 60  # the protocol allows 125 (6.3), but some devices do not
BITS_PER_REQUEST = 1000  # the protocol allows 2,000 (6.1)


class _Coding(NamedTuple):
    """How a number is coded: in how many registers of 16 bits, and as which `struct` format."""

    registers: int
    format: str


_CODINGS: Mapping[str, _Coding] = MappingProxyType({
    "uint16": _Coding(1, ">H"), "int16": _Coding(1, ">h"),
    "uint32": _Coding(2, ">I"), "int32": _Coding(2, ">i"), "float32": _Coding(2, ">f"),
    "uint64": _Coding(4, ">Q"), "int64": _Coding(4, ">q"), "float64": _Coding(4, ">d"),
})  # fmt: skip


class RegisterBlock(NamedTuple):
    """One request: `length` registers (or bits) of a table, from `address` on."""

    table: str
    address: int
    length: int


def register_count(register: Register) -> int:
    """How many registers (or bits) the value takes."""
    return 1 if register.kind == "bit" else _CODINGS[register.kind].registers


def blocks_of(registers: Iterable[Register]) -> Sequence[RegisterBlock]:
    """The fewest requests that cover these registers and nothing else: a device may refuse the addresses between
    them."""
    wanted = sorted(set(map(block_of, registers)))
    groups: list[RegisterBlock] = wanted[:1]
    for one in wanted[1:]:
        last = groups[-1]
        limit = BITS_PER_REQUEST if one.table in ("coil", "discrete") else REGISTERS_PER_REQUEST
        end = max(last.address + last.length, one.address + one.length)
        if one.table == last.table and one.address <= last.address + last.length and end - last.address <= limit:
            groups[-1] = RegisterBlock(last.table, last.address, end - last.address)
        else:
            groups.append(one)
    return groups


def register_value(register: Register, words: Mapping[tuple[str, int], int]) -> Raw | None:
    """The register's value, highest word first unless it is `swapped`. None where a part of it was not read."""
    cells = [words.get((register.table, register.address + offset)) for offset in range(register_count(register))]
    present = [cell for cell in cells if cell is not None]
    if len(present) < len(cells):
        return None
    if register.kind == "bit":
        return present[0]
    ordered = reversed(present) if register.swapped else present
    (value,) = struct.unpack(_CODINGS[register.kind].format, b"".join(struct.pack(">H", cell) for cell in ordered))
    return float(value) if register.kind.startswith("float") else int(value)


def registers_of(profile: Profile) -> list[Register]:
    """Every register that the profile reads."""
    return [one for reading in profile.readings for one in reading.registers]


def smaller_blocks(block: RegisterBlock, profile: Profile | None) -> list[RegisterBlock]:
    """The profile's registers inside the block, one block each; they may overlap. Empty for a block that is a single
    register: the device does not have it."""
    return sorted(set(map(block_of, registers_in(block, profile))) - {block})


def registers_in(block: RegisterBlock, profile: Profile | None) -> list[Register]:
    """The profile's registers inside the block."""
    end = block.address + block.length
    parts = [(one, block_of(one)) for one in (registers_of(profile) if profile else ())]
    return [
        one for one, part in parts
        if part.table == block.table and block.address <= part.address and part.address + part.length <= end
    ]  # fmt: skip


def block_of(register: Register) -> RegisterBlock:
    """The request for one register."""
    return RegisterBlock(register.table, register.address, register_count(register))
