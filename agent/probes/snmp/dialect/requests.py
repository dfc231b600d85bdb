"""How objects and tables are asked for: with retries, in requests that the device accepts, and again, alone, before a
silence or an absence is believed. What is learnt of the device goes into its session's `dialect`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.dialect.habits import Dialect, by_column, limit_from, parts_of
from watchkeeper.agent.probes.snmp.engine import (
    MAX_TABLE_ROWS,
    EngineBroken,
    Reply,
    SnmpSession,
    WalkRows,
    is_malformed,
)
from watchkeeper.model.device import SnmpVersion
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.profiles.decode import Raw

SYS_UPTIME = "1.3.6.1.2.1.1.3"
"""Every device has it, and its answer is small."""
MAX_ASKED_ALONE = 16  # of the objects missing from one answer; the last ones, because a cut answer has the first ones

MUTE = Missing(Reason.TIMEOUT, "the device answers, but not to a request for this object")


@dataclass(frozen=True, slots=True)
class _Asking:
    """How one set of objects is asked for. `alive` says that the device has answered since a request got no answer:
    then silence is about the request. `known_absent`: see `get_objects`."""

    session: SnmpSession
    version: SnmpVersion
    retries: int
    known_absent: Collection[str] | None
    alive: bool = False


_First = dict[str, Raw] | NoAnswer | None
"""What the first attempt of a request brought, if it was already made."""


async def get_objects(
    session: SnmpSession,
    oids: Sequence[str],
    version: SnmpVersion,
    retries: int,
    known_absent: Collection[str] | None = None,
) -> Reply:
    """Get the objects, with retries. If one object makes the whole answer unusable, the request is split in halves. In
    SNMPv1 a missing object does that (RFC 1157, 4.1.2); in v2c and v3 an answer that is too big or refused as a whole;
    in all versions an answer that is not SNMP, or none where a small request is answered. The reply's `requests` are the
    parts that worked: use them next time.

    An object that is missing from an answer is asked for again, alone: all of them that are not `known_absent`; or, if
    that is None, those that `Dialect.doubts` names. Raises NoAnswer."""
    dialect, request = session.dialect, tuple(oids)
    habits = dialect.habits
    first: _First = None
    if habits.get and not habits.mute and len(request) <= (habits.most or len(request)):
        try:
            first = await session.get_many(request)
        except NoAnswer as nothing:
            first = nothing
        else:
            if len(first) == len(request) <= dialect.whole:  # almost always
                return Reply(first, (request,))
    asking = _Asking(session, version, retries, known_absent)
    reply = await (_get_parts(asking, request) if first is None else _get_part(asking, request, first))
    if any(missing is MUTE for missing in reply.unreadable.values()):
        dialect.learn(most=habits.most)  # it was one object, not their number
    return reply


async def _get_parts(asking: _Asking, request: tuple[str, ...]) -> Reply:
    habits = asking.session.dialect.habits
    if not habits.get:
        return await _get_by_walking(asking.session, request, asking.retries)
    if not habits.most and not habits.mute:
        return await _get_part(asking, request)
    reply = Reply({}, ())
    for part in parts_of(habits, request):
        reply = _joined(reply, await _get_part(asking, part))
    return reply


async def _get_part(asking: _Asking, request: tuple[str, ...], first: _First = None) -> Reply:  # noqa: PLR0911 -- one for each kind of answer
    """Get the objects by one request, or by smaller ones if that does not work."""
    dialect = asking.session.dialect
    malformed = False
    answer: dict[str, Raw] = {}
    try:
        answer = await _ask(asking, request, first)
    except NoAnswer as nothing:
        if isinstance(nothing, _OnlyThis):
            return await _get_what_is_not_silent(asking, request)
        if not is_malformed(nothing):
            raise
        if len(request) == 1:
            return Reply({}, (request,), {request[0]: nothing.missing})
        malformed = True
    if len(answer) == len(request):
        _note_present(dialect, request, len(request))
        return Reply(answer, (request,))
    if not (answer or malformed) and len(request) > 1 and await _all_are_absent(asking, request):
        return Reply({}, (request,))
    answer = {oid: answer[oid] for oid in request if oid in answer}
    if answer and not malformed:
        return await _complete(asking, request, answer)
    if not malformed and not dialect.get_checked and await _get_is_not_answered(asking.session):
        return await _get_by_walking(asking.session, request, asking.retries)
    if len(request) == 1:
        return Reply({}, (request,))
    return await _get_halves(asking, request, refused=not malformed and asking.version is not SnmpVersion.V1)


def _note_present(dialect: Dialect, answered: Sequence[str], whole: int) -> None:
    """Note what an answer shows: it has these objects, and was not cut before so many."""
    dialect.get_checked = True
    dialect.present = dialect.present or answered[0]
    dialect.whole = max(dialect.whole, whole)


async def _all_are_absent(asking: _Asking, request: tuple[str, ...]) -> bool:
    """An answer without any object may be that of a device that has none of them, or that refuses the request. Ask for
    one more, at the end, that the device has. Not in SNMPv1, where every absent object refuses the request."""
    dialect = asking.session.dialect
    if asking.version is SnmpVersion.V1 or dialect.habits.most or dialect.present in ("", *request):
        return False
    try:
        answer = await asking.session.get_many((*request, dialect.present))
    except NoAnswer:
        return False
    return answer.keys() == {dialect.present}


class _OnlyThis(NoAnswer):
    """No answer to this request from a device that answers others."""


async def _ask(asking: _Asking, request: tuple[str, ...], first: _First) -> dict[str, Raw]:
    """Send the request. If no answer comes, the last retry asks for the uptime instead, by GETNEXT: if the device
    answers that, the request is sent once more. Raises _OnlyThis if the device is silent to this request only."""
    session = asking.session
    silent = _OnlyThis(MUTE.reason, MUTE.detail)
    several = len(request) > 1
    try:
        return await get_with_retries(session, request, asking.retries - several if not asking.alive else 0, first)
    except NoAnswer as nothing:
        if not _is_silence(nothing) or not (several or asking.alive):
            raise
        if asking.alive and several:
            raise silent from None
        await _ask_for_uptime(session, nothing)
    try:
        return await session.get_many(request)
    except NoAnswer as nothing:
        raise silent if _is_silence(nothing) else nothing from None


async def _ask_for_uptime(session: SnmpSession, failure: NoAnswer) -> None:
    """Raise the failure unless the device answers a small request."""
    try:
        await session.walk(SYS_UPTIME, 1)
    except NoAnswer as nothing:
        if isinstance(nothing, EngineBroken):
            raise
        if nothing.missing.reason in (Reason.TIMEOUT, Reason.UNREACHABLE):
            raise failure from None


async def _get_what_is_not_silent(asking: _Asking, request: tuple[str, ...]) -> Reply:
    """The device answers, but not to this request: it has too many objects, its answer is too large, or one object
    brings no answer."""
    dialect = asking.session.dialect
    if not dialect.get_checked and await _get_is_not_answered(asking.session):
        return await _get_by_walking(asking.session, request, asking.retries)
    if len(request) == 1:
        dialect.never_ask(request[0])
        return Reply({}, (), {request[0]: MUTE})
    dialect.learn(most=(len(request) + 1) // 2)  # at once: a sweep may end before the halves are answered
    return await _get_parts(replace(asking, alive=True), request)


async def _get_halves(asking: _Asking, request: tuple[str, ...], *, refused: bool) -> Reply:
    """Get each half alone. If both are answered at once, a request `refused` as a whole was too big."""
    middle = (len(request) + 1) // 2
    first = await _get_parts(asking, request[:middle])
    second = await _get_parts(asking, request[middle:])
    both = first.requests == (request[:middle],) and second.requests == (request[middle:],)
    if refused and both and first.answer and second.answer:
        asking.session.dialect.learn(most=middle)
    return _joined(first, second)


async def _complete(asking: _Asking, request: tuple[str, ...], answer: dict[str, Raw]) -> Reply:
    """Ask again for what is missing from an answer of several objects, each alone. If one exists, the device leaves out
    objects, or cuts its answers: from then on it is asked for fewer."""
    dialect, known = asking.session.dialect, asking.known_absent
    _note_present(dialect, [*answer], max(place for place, oid in enumerate(request, 1) if oid in answer))
    if known is None:
        doubtful = dialect.doubts(request, answer)
    else:
        doubtful = [oid for oid in request if oid not in answer and oid not in known]
    asked = tuple(doubtful[-MAX_ASKED_ALONE:])
    found: dict[str, Raw] = {}
    for oid in reversed(asked):
        try:
            found |= await get_with_retries(asking.session, (oid,), asking.retries)
        except NoAnswer as nothing:
            if not is_malformed(nothing):
                break  # what is left counts as absent, and is asked for again when the plan is renewed
    else:
        dialect.is_absent(oid for oid in asked if oid not in found)
        dialect.complete_checked = dialect.complete_checked or bool(asked)
    found = {oid: found[oid] for oid in asked if oid in found}
    if not found:
        return Reply(answer, (request,))
    dialect.learn(most=limit_from(request, found))
    left = tuple(oid for oid in doubtful if oid not in found and oid not in asked)
    others = (await _get_parts(asking, left)).answer if left else {}
    return Reply(answer | found | others, parts_of(dialect.habits, request))


def _joined(first: Reply, second: Reply) -> Reply:
    return Reply(
        first.answer | second.answer,
        first.requests + second.requests,
        {**first.unreadable, **second.unreadable},
    )


def _is_silence(nothing: NoAnswer) -> bool:
    return nothing.missing.reason is Reason.TIMEOUT


async def get_with_retries(
    session: SnmpSession, oids: Sequence[str], retries: int, first: _First = None
) -> dict[str, Raw]:
    """Send one request, if that was not done before, and repeat it `retries` times if no answer comes. After a refusal it is sent once more: with
    the refusal, a device that restarted tells the engine its new time (RFC 3414, 3.2.7). After an answer that makes no
    sense it is not repeated."""
    refused = False
    while True:
        before, first = first, None
        try:
            if isinstance(before, NoAnswer):
                raise before
            return await session.get_many(oids) if before is None else before
        except NoAnswer as nothing:
            if nothing.missing.reason is Reason.REFUSED and not refused:
                refused = True
            elif retries > 0 and nothing.missing.reason is not Reason.MALFORMED:
                retries -= 1
            else:
                raise


async def ask_for_mute(session: SnmpSession) -> None:
    """Ask once for one of the objects that brought no answer, another one each time. If it is answered, all of them are
    asked for again: a part of the device may have hung. Raises NoAnswer."""
    dialect = session.dialect
    mute = dialect.habits.mute
    if not mute:
        return
    dialect.mute_asked += 1
    try:
        await session.get_many((mute[dialect.mute_asked % len(mute)],))
    except NoAnswer as nothing:
        if not _is_silence(nothing):
            raise
    else:
        dialect.learn(mute=())


# ---- devices that do not answer GET ----


async def _get_is_not_answered(session: SnmpSession) -> bool:
    """Whether the device has an object that GETNEXT shows and GET does not. Notes it as a habit."""
    session.dialect.get_checked = True
    try:
        rows = await session.walk(SYS_UPTIME, 1)
    except NoAnswer as nothing:
        if is_malformed(nothing):
            return False
        raise
    for name, _ in rows:
        try:
            if name in await session.get_many((name,)):
                return False
        except NoAnswer as nothing:
            if not _is_silence(nothing):
                return False
        session.dialect.learn(get=False)
        return True
    return False


async def _get_by_walking(session: SnmpSession, request: tuple[str, ...], retries: int) -> Reply:
    """Get the objects by walking their columns."""
    answer: dict[str, Raw] = {}
    unreadable: dict[str, Missing] = {}
    for column, names in by_column(request).items():
        rows = await walk_table(session, column, retries, 1 if names == [f"{column}.0"] else MAX_TABLE_ROWS)
        found = dict(rows)
        answer |= {name: found[name] for name in names if name in found}
        if rows.cut:
            unreadable |= dict.fromkeys((name for name in names if name not in found), rows.cut)
    return Reply(answer, (request,), unreadable)


async def walk_table(session: SnmpSession, base: str, retries: int, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
    """Walk a table, and start again if an answer did not come. A table that makes no sense is returned empty and
    `cut`."""
    while True:
        try:
            found = await session.walk(base, rows)
            if (
                retries < _attempts(session.dialect, rows)
                or found.cut is None
                or found.cut.reason is not Reason.TIMEOUT
            ):
                return found
        except NoAnswer as nothing:
            if is_malformed(nothing):
                empty: WalkRows[Raw] = WalkRows()
                empty.cut = nothing.missing
                return empty
            if retries < _attempts(session.dialect, rows) or isinstance(nothing, EngineBroken):
                raise
        retries -= _attempts(session.dialect, rows)


def _attempts(dialect: Dialect, rows: int) -> int:
    """How many requests without an answer end a walk: GETBULK and GETNEXT, or GETNEXT alone."""
    return 2 if rows > 1 and dialect.has_bulk and dialect.habits.bulk else 1
