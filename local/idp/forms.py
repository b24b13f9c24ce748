"""Forms that a browser posts."""

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import BeforeValidator, Field
from starlette.requests import Request

AccountId = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None, BeforeValidator(lambda value: value or None)
]
"""An account's id; an empty field names none."""


async def read_form(request: Request) -> dict[str, str]:
    """The fields, each with its last value."""
    fields = parse_qs((await request.body()).decode("utf-8", "replace"))
    return {name: values[-1] for name, values in fields.items()}


def is_foreign_form(request: Request) -> bool:
    """Whether a page of another origin posts it; what is no browser does not say."""
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")
