"""Lists that are no page of their own: `limit` and `after` in the request, and the address of the next part in the header
`Link` of the response (RFC 8288)."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import Query, Request, Response

T = TypeVar("T")

LIST_LIMIT, LIST_DEFAULT = 5_000, 1_000
Limit = Annotated[int, Query(ge=1, le=LIST_LIMIT, description="at most so many; the header `Link` has the next part")]
After = Annotated[str | None, Query(max_length=200, description="the name of the last one of the part before")]
Before = Annotated[
    float | None, Query(description="UTC seconds: `earlier` of the last response; without it, up to now")
]


def part_after(names: Sequence[str], after: str | None, limit: int) -> tuple[Sequence[str], str | None]:
    """The part of these names that comes after one of them, and its last name if there are more."""
    start = names.index(after) + 1 if after in names else 0
    part = names[start : start + limit]
    return part, part[-1] if part and start + limit < len(names) else None


def link_next(request: Request, response: Response, last: str | None) -> None:
    """Name the address of the next part, if there is one."""
    if last is not None:
        response.headers["link"] = f'<{request.url.include_query_params(after=last)}>; rel="next"'
