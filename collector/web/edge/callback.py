"""POST /api/v1/replies: a program that got a message by webhook answers it for its person. docs/webhook.md says how it signs."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from watchkeeper.channels.ports import Via
from watchkeeper.channels.webhook import verify
from watchkeeper.collector.access.refusals import Refused
from watchkeeper.collector.policy.replies.reading import NOTE_LENGTH, AnswerKind
from watchkeeper.collector.process.replies.answer import Incoming, Outcome, ReplyVia, take_answer
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.store.schema import outbox
from watchkeeper.collector.web.edge.auth import CurrentRuntime, refused
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.errors import SecretError

router = APIRouter(prefix="/api/v1", include_in_schema=False)
_NO_NUL = r"^[^\x00]*$"  # PostgreSQL takes none
KeyOf = Callable[[str], Secret]

_REFUSED = JSONResponse(
    {"error": "authentication required: sign the body with the key of the person's webhook, and give the key of a message to that person"}, 401
)  # fmt: skip


class ReplyIn(BaseModel):
    """The body of a reply. `key` is the idempotency key of the message: it names person, trouble and state."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: Annotated[str, Field(max_length=400)]
    answer: Annotated[AnswerKind, Field(strict=False)]
    note: Annotated[str, Field(max_length=NOTE_LENGTH, pattern=_NO_NUL)] = ""


async def _body(request: Request) -> bytes:
    return await request.body()


@router.post("/replies")
def take(request: Request, runtime: CurrentRuntime, body: Annotated[bytes, Depends(_body)]) -> Response:
    """Carry out an answer. Nothing is told, and nothing of the body is used but the key, before the signature is verified."""
    person = _signer(request, runtime, body)
    if person is None:
        refused(request, runtime, Refused.REPLY)
        return _REFUSED
    try:
        said = ReplyIn.model_validate_json(body)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors())
        return JSONResponse({"error": f"unprocessable content: {wrong}"}, 422)
    note = said.note.strip()
    same = hashlib.sha256(f"{said.key}\0{said.answer.value}\0{note}".encode(errors="replace")).hexdigest()
    incoming = Incoming(ReplyVia.WEBHOOK, same, person)
    result = take_answer(runtime.notifier(), incoming, said.key, said.answer, note, runtime.clock.wall())
    outcome = result.before or result.outcome
    answer: dict[str, Any] = {
        "outcome": outcome.value,
        "repeated": result.before is not None,
        "trouble": result.trouble,
    }
    if outcome is Outcome.APPLIED:
        return JSONResponse(answer)
    return JSONResponse({"error": f"conflict: {result.why or 'this answer changed nothing before'}", **answer}, 409)


def _signer(request: Request, runtime: Runtime, body: bytes) -> Person | None:
    """The person to whom the message with this key was written, if the body is signed with the key of one of their webhooks."""
    person = _person_of(runtime, _key_in(body))
    if person is None:
        return None
    timestamp, signature = (request.headers.get(f"watchkeeper-{name}", "") for name in ("timestamp", "signature"))
    now = runtime.clock.wall()
    signed = any(verify(key, timestamp, body, signature, now) for key in _keys_of(request, person))
    return person if signed else None


def _key_in(body: bytes) -> str:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    key = fields.get("key") if isinstance(fields, dict) else None
    return key if isinstance(key, str) and "\0" not in key else ""


def _person_of(runtime: Runtime, key: str) -> Person | None:
    try:
        key.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no database takes
        return None
    with runtime.store.read() as connection:
        name = connection.execute(sa.select(outbox.c.person).where(outbox.c.key == key)).scalar()
    people = runtime.snapshot.configuration.contacts.people
    return next((one for one in people if one.person == name), None)


def _keys_of(request: Request, person: Person) -> Iterator[str]:
    key_of: KeyOf | None = request.app.state.key_of
    for address in person.channels:
        if key_of is not None and address.via is Via.WEBHOOK:
            try:
                key = key_of(address.secret).reveal()
            except SecretError:
                continue
            if key.strip():
                yield key
