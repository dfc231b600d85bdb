"""SNMP agents with the bad habits of real ones. Each habit changes the answers of a correct agent; several may be put
on one another."""

from collections.abc import Callable, Mapping, Sequence

from tests.snmp_liar import (
    END_OF_VIEW,
    GET,
    GETBULK,
    GETNEXT,
    NO_SUCH_NAME,
    NO_SUCH_OBJECT,
    NULL,
    TOO_BIG,
    Request,
    Responder,
    agent,
    answer,
    parse_request,
)

GEN_ERR = 5  # RFC 3416, 3

Habit = Callable[[Responder, Mapping[str, bytes]], Responder]
"""Changes the answers of an agent with these objects."""


def arcs(name: str) -> tuple[int, ...]:
    return tuple(map(int, name.split(".")))


def rows_after(order: Sequence[str], objects: Mapping[str, bytes], name: str, count: int) -> list[tuple[str, bytes]]:
    """What an agent that lists its objects in this order has after one of them."""
    place = (
        order.index(name) + 1
        if name in order
        else next((n for n, one in enumerate(order) if arcs(one) > arcs(name)), len(order))
    )
    found = [(one, objects[one]) for one in order[place : place + count]]
    return found if len(found) == count else [*found, (name, END_OF_VIEW)]


def for_kind(kind: int, change: Callable[[bytes, Request], Sequence[bytes] | None]) -> Habit:
    """Change the answers to one kind of request. None leaves an answer as it is."""

    def habit(reply: Responder, _: Mapping[str, bytes]) -> Responder:
        def changed(request: bytes) -> Sequence[bytes]:
            one = parse_request(request)
            other = change(request, one) if one.kind == kind else None
            return reply(request) if other is None else other

        return changed

    return habit


def silent_to(kind: int) -> Habit:
    return for_kind(kind, lambda request, one: [])


def silent_above(most: int) -> Habit:
    return for_kind(GET, lambda request, one: [] if len(one.names) > most else None)


def silent_to_object(name: str) -> Habit:
    return for_kind(GET, lambda request, one: [] if name in one.names else None)


def too_big_above(most: int) -> Habit:
    return for_kind(GET, lambda request, one: [answer(request, [], TOO_BIG)] if len(one.names) > most else None)


def error_to(kind: int) -> Habit:
    return for_kind(kind, lambda request, one: [answer(request, [(name, NULL) for name in one.names], GEN_ERR)])


def no_object_by_get(reply: Responder, _: Mapping[str, bytes]) -> Responder:
    def refuse(request: bytes, one: Request) -> Sequence[bytes]:
        if one.version == 0:
            return [answer(request, [(name, NULL) for name in one.names], NO_SUCH_NAME)]
        return [answer(request, [(name, NO_SUCH_OBJECT) for name in one.names])]

    return for_kind(GET, refuse)(reply, {})


def nonsense_to(kind: int) -> Habit:
    return for_kind(kind, lambda request, one: [answer(request, [(one.names[0], b"\x5e\x01\x07")])[:-3]])


def silent_when_longer(size: int) -> Habit:
    def habit(reply: Responder, _: Mapping[str, bytes]) -> Responder:
        return lambda request: [one for one in reply(request) if len(one) <= size]

    return habit


def cut(most: int) -> Habit:
    """GET is answered with the first objects only."""

    def habit(reply: Responder, objects: Mapping[str, bytes]) -> Responder:
        def some(request: bytes, one: Request) -> Sequence[bytes] | None:
            if one.version == 0 and not all(name in objects for name in one.names):
                return None
            return [answer(request, [(name, objects.get(name, NO_SUCH_OBJECT)) for name in one.names[:most]])]

        return for_kind(GET, some)(reply, objects)

    return habit


def leaves_out_beside_others(wanted: str) -> Habit:
    """One object is given only if nothing else is asked for."""

    def habit(reply: Responder, objects: Mapping[str, bytes]) -> Responder:
        def some(request: bytes, one: Request) -> Sequence[bytes] | None:
            if len(one.names) == 1 or wanted not in one.names or not all(name in objects for name in one.names):
                return None
            return [answer(request, [(name, objects[name]) for name in one.names if name != wanted])]

        return for_kind(GET, some)(reply, objects)

    return habit


def bulk(rows: Callable[[Callable[[str, int], list[tuple[str, bytes]]], Request], list[tuple[str, bytes]]]) -> Habit:
    """GETBULK is answered with these rows; the function gets what a correct agent has after an object."""

    def habit(reply: Responder, objects: Mapping[str, bytes]) -> Responder:
        order = sorted(objects, key=arcs)

        def after(name: str, count: int) -> list[tuple[str, bytes]]:
            return rows_after(order, objects, name, count)

        return for_kind(GETBULK, lambda request, one: [answer(request, rows(after, one))])(reply, objects)

    return habit


def itself(reply: Responder, objects: Mapping[str, bytes]) -> Responder:
    """GETBULK is answered with the object itself, if it exists."""
    return bulk(
        lambda after, one: (
            [(one.names[0], objects[one.names[0]])] if one.names[0] in objects else after(one.names[0], 1)
        )
    )(reply, objects)


def listing(order: Callable[[Mapping[str, bytes]], list[str]]) -> Habit:
    """Walks give the objects in another order, which may have an object twice."""

    def habit(reply: Responder, objects: Mapping[str, bytes]) -> Responder:
        names = order(objects)

        def walk(request: bytes, one: Request, count: int) -> Sequence[bytes]:
            rows = rows_after(names, objects, one.names[0], count)
            if one.version == 0 and rows[0][1] == END_OF_VIEW:
                return [answer(request, [(one.names[0], NULL)], NO_SUCH_NAME)]
            return [answer(request, rows)]

        by_next = for_kind(GETNEXT, lambda request, one: walk(request, one, 1))(reply, objects)
        return for_kind(GETBULK, lambda request, one: walk(request, one, one.max_repetitions))(by_next, objects)

    return habit


def as_text(objects: Mapping[str, bytes]) -> list[str]:
    """Rows sorted as text: 1, 10, 11, 2."""
    return sorted(objects, key=lambda name: (arcs(name)[:-1], name.rpartition(".")[2]))


def odd(objects: Mapping[str, bytes], *habits: Habit) -> Responder:
    """An agent with these objects and habits; the first habit counts most."""
    reply = agent(objects)
    for habit in reversed(habits):
        reply = habit(reply, objects)
    return reply
