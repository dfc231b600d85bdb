"""The code by which an answer names a trouble, a person and a state: the number of the trouble and two letters, as in `17KM`.

Numbers of troubles are never used again, so a code never means another trouble later. The first letter checks the number for that
person: no single wrong digit, and no two digits in the wrong order, make another valid code. The second letter says which message
is answered. A code is no secret: it guards against mistakes, not against a forger. Pure.
"""

import hashlib
import re
from collections.abc import Iterable

LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ"
"""23 letters, a prime number of them; none looks like a digit (no I, L, O)."""

CODE = re.compile(rf"(?<![0-9A-Z])([1-9][0-9]{{0,14}})[ -]?([{LETTERS}]{{2}})(?![A-Z0-9])")
"""A code in a text in capital letters: the number, and the letters."""


def code_of(number: int, person: str, key: str) -> str:
    """The code of a message to `person` about the trouble `number`. `key` is the idempotency key of the message."""
    return f"{number}{_check(number, person)}{LETTERS[_hashed(key)]}"


def key_of(code: str, number: int, person: str, keys: Iterable[str]) -> str:
    """Which of these messages has this code, the newest first: the first that fits; empty if none does."""
    return next((key for key in keys if code_of(number, person, key) == code), "")


def _check(number: int, person: str) -> str:
    """Weights 1, 2, 4 ... of the digits from the right differ in every place modulo 23 (the powers of 2 repeat after 11 places)."""
    weighted = sum(int(digit) * 2**place for place, digit in enumerate(reversed(str(number))))
    return LETTERS[(weighted + _hashed(person)) % len(LETTERS)]


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode(errors="replace")).digest()[:8]) % len(LETTERS)
