"""What people tell the service to do: who says so, once and only once."""

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Annotated, Any

from fastapi import Header, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.http.ports import Row, Service, Unit
from app.http.problem import Problem
from app.store.batch import Answered

Text = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=2000, pattern=r"^[^\x00]*$")
]
Said = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00]*$"),
]
Person = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00]*$"),
    Field(description="Who does this: stored as declared.", examples=["A. Roth"]),
]
WhoQuery = Annotated[str, Query(min_length=1, max_length=100, description="Who does this.")]
ReasonQuery = Annotated[str, Query(max_length=2000, description="Why.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=200,
        description="The same key with the same body is done once and answered alike.",
    ),
]


class Command(BaseModel):
    """The body of a command."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    who: Person


async def once(
    service: Service, key: str | None, request: str, act: Callable[[Unit], Awaitable[Row]]
) -> Row:
    """Do what a person asks in a unit of its own; a repeat gets the first answer.

    ``request`` says what is asked, so that a key used for something else is noticed.
    """
    asked = blake2b(request.encode(), digest_size=16).hexdigest()
    async with service.exclusive() as unit:
        if key is not None:
            before = await service.records.answered(key)
            if before is not None and before.request_hash != asked:
                raise Problem(
                    422, "this Idempotency-Key was used for something else; take a new one"
                )
            if before is not None:
                return before.response
        response = await act(unit)
        if key is not None:
            unit.batch.answered.append(Answered(key, service.clock(), asked, response))
        return response


def asked(path: str, body: BaseModel | None = None, **more: Any) -> str:
    """A request in words, for ``once``."""
    return f"{path} {body.model_dump_json() if body else ''} {sorted(more.items()) if more else ''}"
