"""Chooses how a reading is read from one device (and table row), by what the device answers. Pure."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from sys import intern

from watchkeeper.model.reading import Missing
from watchkeeper.profiles.cell import Cell, Operand
from watchkeeper.profiles.condition import Where
from watchkeeper.profiles.decode import (
    NO_SCALE,
    DecodeStep,
    Raw,
    RowCondition,
    calculation_step,
    decode,
    decode_step,
    guard_of,
    part_step,
    raw_text,
)
from watchkeeper.profiles.scalars import Marker, RawUnit, Ref
from watchkeeper.profiles.shape import Way

_Parts = tuple[tuple[DecodeStep, ...], tuple[RowCondition, ...]]


def best_step(ways: Iterable[Way], unit: str, index: str, answer: Mapping[str, Raw]) -> DecodeStep | None:
    """The first way that gives a value; else the first one that is answered; else None: the device does not have it.
    `unit` is the unit of the quantity, and `index` the table's row."""
    answered = [one for way in ways if (one := _step(way, unit, index, answer)) is not None]
    values = decode(answered, answer)
    good = [one for one, value in zip(answered, values, strict=True) if not isinstance(value, Missing)]
    return next(iter(good or answered), None)


def all_hold(conditions: Iterable[Where], index: str, answer: Mapping[str, Raw]) -> bool:
    """Whether all conditions hold for the row."""
    return all(guard_of(one, index).holds(answer) for one in conditions)


def condition_objects(ways: Iterable[Way], index: str) -> Iterable[str]:
    """The objects of the conditions that are read at every poll."""
    return (name for way in ways for one in way.conditions for name in guard_of(one, index).oids)


def ref_text(ref: Ref, index: str, answer: Mapping[str, Raw]) -> str | None:
    """The text that the reference points to, or None."""
    if not ref.oid:
        return ref.row(index)
    raw = answer.get(ref.name(index))
    return None if raw is None else raw_text(raw)


def _step(way: Way, unit: str, index: str, answer: Mapping[str, Raw]) -> DecodeStep | None:
    if way.operation:
        parts, guards = _parts(way.operands, index, answer)
        guards += tuple(guard_of(one, index) for one in way.only_if)
        return calculation_step(way, parts, unit, guards) if parts else None
    name = intern(way.ref.name(index))
    if name not in answer:
        return None
    raw_unit, guards = _unit(way, index, answer), _unit_guards(way, index, answer)
    return decode_step(way, name, index, _factor(way, index, answer), unit=raw_unit, guards=guards)


def _parts(operands: Iterable[Operand], index: str, answer: Mapping[str, Raw]) -> _Parts:
    """The steps of the operands, and the conditions under which their units are right; no steps if one of them is not
    answered."""
    steps: list[DecodeStep] = []
    guards: tuple[RowCondition, ...] = ()
    for one in operands:
        if one.operation:
            inner, more = _parts(one.operands, index, answer)
            if not inner:
                return (), ()
            steps.append(calculation_step(one, inner))
        else:
            name = intern(one.ref.name(index))
            if name not in answer:
                return (), ()
            steps.append(part_step(one, name, _factor(one, index, answer), _unit(one, index, answer)))
            more = _unit_guards(one, index, answer)
        guards += more
    return tuple(steps), guards


def _unit_guards(cell: Cell, index: str, answer: Mapping[str, Raw]) -> tuple[RowCondition, ...]:
    """The condition that the device still gives the same unit."""
    text = ref_text(cell.unit_from.ref, index, answer) if cell.unit_from else None
    if cell.unit_from is None or text is None:
        return ()
    return (guard_of(Where(oid=cell.unit_from.ref, is_=(Marker(text),)), index),)


def _unit(cell: Cell, index: str, answer: Mapping[str, Raw]) -> RawUnit | None:
    """The unit that the device gives; None if the profile does not know it, or gives the unit itself."""
    return cell.unit_from.by.get(ref_text(cell.unit_from.ref, index, answer) or "") if cell.unit_from else None


def _factor(cell: Cell, index: str, answer: Mapping[str, Raw]) -> Fraction:
    """The product of the scales that the device gives; NO_SCALE if the profile does not know one of them."""
    if cell.unit_from and _unit(cell, index, answer) is None:
        return NO_SCALE
    factor = Fraction(1)
    for one in cell.scale:
        factor *= one.by.get(ref_text(one.ref, index, answer) or "", NO_SCALE)
    return factor
