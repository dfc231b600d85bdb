"""Whose telephone or mailbox a reply came from. Pure. A sender can be forged, so that a reply may do little (`AnswerKind`)."""

from collections.abc import Iterable, Iterator

from watchkeeper.channels.ports import Via, dialled
from watchkeeper.collector.site.inventory import Person

_COUNTRY_DIGITS = 3  # ITU-T E.164: a country code has one to three
_NATIONAL_DIGITS = 7  # a shorter number is a service, and the end of many others


def person_of_phone(people: Iterable[Person], number: str) -> Person | None:
    """The only person with this telephone; None if there is none, or if several have it."""
    sender = dialled(number)
    found = [one for one in people if sender and any(same_phone(sender, mine) for mine in _phones(one))]
    return found[0] if len(found) == 1 else None


def person_of_mail(people: Iterable[Person], address: str) -> Person | None:
    """The only person with this mail address; None if there is none, or if several have it."""
    found = [one for one in people if one.mail and one.mail.casefold() == address.strip().casefold()]
    return found[0] if len(found) == 1 else None


def same_phone(one: str, other: str) -> bool:
    """Whether two numbers are the same telephone. Each may be international (`+86...`, `0086...`) or national."""
    first, second = _international(one), _international(other)
    if first == second:
        return True
    if first.startswith("+") == second.startswith("+"):
        return False
    whole, national = (first, second) if first.startswith("+") else (second, first)
    national = national.lstrip("0")
    return (
        len(national) >= _NATIONAL_DIGITS
        and whole.endswith(national)
        and 1 <= len(whole) - 1 - len(national) <= _COUNTRY_DIGITS
    )


def _international(number: str) -> str:
    return f"+{number[2:]}" if number.startswith("00") else number


def _phones(person: Person) -> Iterator[str]:
    for number in (person.phone, *(one.to for one in person.channels if one.via is Via.SMS)):
        if compact := dialled(number):
            yield compact
