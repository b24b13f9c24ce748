"""What the routes take and give."""

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from oauth_proxy.hops import MOST_HOPS
from oauth_proxy.openai import Method, user_code
from oauth_proxy.signin import Signin, Status

Code = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
State = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class AuthorizeBody(BaseModel):
    """Which way to sign in, and whether another account than before may be used."""

    method: Method
    replace: bool = False


class CallbackBody(BaseModel):
    """Which way it was; for the browser's way also what came back from the provider, both or neither."""

    method: Method
    code: Code | None = None
    state: State | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> "CallbackBody":
        if (self.code is None) != (self.state is None):
            raise ValueError("code and state belong together")
        return self


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True)


class AuthorizeHop(_Query):
    """How often the call was sent on to itself, and the sandbox's generation that it was told is starting."""

    hop: int = Field(default=0, ge=0, le=MOST_HOPS)
    start: int | None = Field(default=None, ge=0)


class CallbackHop(_Query):
    """How often the call was sent on to itself, the attempt it waits for, and its place among those who wait."""

    hop: int = Field(default=0, ge=0, le=MOST_HOPS)
    attempt: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    watcher: str | None = Field(default=None, pattern=r"^[0-9]-[0-9a-f]{8}$")


class ProviderAnswer(_Query):
    """What the provider sends the browser back with."""

    code: Code | None = None
    state: State | None = None
    error: Code | None = None


AuthorizeQuery = Annotated[AuthorizeHop, Query()]
CallbackQuery = Annotated[CallbackHop, Query()]
ProviderQuery = Annotated[ProviderAnswer, Query()]


class Authorization(BaseModel):
    """OpenCode's answer, and what is known of it here. ``expires_at`` is the attempt's end (epoch seconds)."""

    url: str
    method: str = "auto"
    instructions: str
    user_code: str | None
    expires_at: int
    attempt_id: str

    @classmethod
    def of(cls, signin: Signin) -> "Authorization":
        """Return what the user needs for *signin*."""
        return cls(
            url=signin.url or "",
            instructions=signin.instructions or "",
            user_code=user_code(signin.instructions),
            expires_at=signin.expires_at,
            attempt_id=signin.attempt_id,
        )


class Attempt(BaseModel):
    """An attempt; what the user needs for it is there while it is live. Times are epoch seconds."""

    attempt_id: str
    status: Status
    method: Method
    replace: bool
    created_at: int
    expires_at: int
    url: str | None = None
    instructions: str | None = None
    user_code: str | None = None
    account_id: str | None = None

    @classmethod
    def of(cls, signin: Signin, *, now: float) -> "Attempt":
        """Return what is told of *signin*."""
        hidden = set() if signin.live(now) else {"url", "instructions"}
        told = signin.model_dump(include=set(cls.model_fields) - hidden)
        code = user_code(told.get("instructions"))
        return cls.model_validate({**told, "status": signin.status_at(now), "user_code": code})


class Connection(BaseModel):
    """The end of an attempt that connected."""

    ok: bool = True
    provider: str
    account_id: str | None


class Disconnection(BaseModel):
    """The end of a connection; ``removed`` says whether there was one."""

    ok: bool = True
    removed: bool
