"""
What is OpenAI's on this side: OpenCode's provider `openai`, which is a ChatGPT subscription, and signing in to it.

All of it was measured (opencode 1.18.33). Another provider with a sign-in would be another module like this one.
"""

from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from http import HTTPStatus
from typing import Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sandboxd.errors import OpenCodeError, ProviderSilentError, ProviderUnreachableError

PROVIDER = "openai"
AUTH_FILE = ("opencode", "auth.json")
"""Where OpenCode keeps credentials, below its data directory."""
REDIRECT_URL = "http://127.0.0.1:1455/auth/callback"
"""Where OpenCode listens for the browser's way back, once authorized with :attr:`Method.BROWSER`, for 300 s."""
REDIRECT_SECONDS = 10

PLACEHOLDER = "held-by-the-control-plane"
"""What stands in auth.json for the refresh token. OpenCode would use that only once the access token has run out."""

Entry = dict[str, object]
"""What auth.json holds of one provider, as it is."""


class Method(IntEnum):
    """OpenCode's ways to sign in, by its index."""

    BROWSER = 0
    DEVICE_CODE = 1


class CallbackEnd(Enum):
    """How OpenCode's wait for an approval ended."""

    APPROVED = auto()
    DENIED = auto()
    """Denied, expired or limited: the provider's answers cannot be told apart."""
    FAILED = auto()
    LOST = auto()
    """OpenCode went away."""


class Grant(BaseModel):
    """What an entry of auth.json must be, to be good for anything."""

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)

    type: Literal["oauth"]
    access: str = Field(min_length=1, repr=False)
    refresh: str = Field(min_length=1, repr=False)
    expires: int = Field(description="epoch milliseconds")
    account_id: str | None = Field(default=None, alias="accountId")

    @field_validator("refresh")
    @classmethod
    def _is_a_grants(cls, refresh: str) -> str:
        if refresh == PLACEHOLDER:
            raise ValueError("an entry of ours, and no new one")
        return refresh

    def borrowed(self) -> Entry:
        """The entry of the access token alone."""
        return borrowed(self.access, expires=self.expires, account_id=self.account_id)


def borrowed(access_token: str, *, expires: int, account_id: str | None) -> Entry:
    """
    The entry by which OpenCode uses an access token that it cannot refresh. *expires*: epoch milliseconds.

    One that is in the file when OpenCode starts is a connected provider; a later one is used from the next model
    request on, if there was one before it.
    """
    entry: Entry = {"type": "oauth", "access": access_token, "refresh": PLACEHOLDER, "expires": expires}
    return entry if account_id is None else {**entry, "accountId": account_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """What a user needs to approve a sign-in."""

    url: str
    instructions: str = field(repr=False)


class _Authorization(BaseModel):
    url: str
    instructions: str
    method: Literal["auto"]


class _Providers(BaseModel):
    default: dict[str, str]


async def authorize(client: httpx.AsyncClient, method: Method, *, seconds: float) -> Authorization:
    """
    Ask the provider for a code or an address.

    Raises:
        ProviderSilentError: it does not answer; OpenCode may still be asking.
        ProviderUnreachableError: it cannot be reached, or refuses.
        OpenCodeError: OpenCode gives no usable answer.
    """
    try:
        answer = await client.post(f"/provider/{PROVIDER}/oauth/authorize", json={"method": method}, timeout=seconds)
        if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ProviderUnreachableError
        found = _Authorization.model_validate_json(answer.raise_for_status().content)
    except httpx.ReadTimeout as exc:
        raise ProviderSilentError from exc
    except (httpx.HTTPError, ValidationError) as exc:
        raise OpenCodeError from exc
    # What OpenCode makes of an answer without a code in it.
    if found.instructions.endswith("undefined"):
        raise ProviderUnreachableError
    return Authorization(url=found.url, instructions=found.instructions)


async def callback(client: httpx.AsyncClient, method: Method) -> CallbackEnd:
    """
    Have OpenCode wait for the approval, which it does without end.

    It polls on when this call is cancelled, and survives a dispose; only the end of OpenCode surely ends it. An
    approval is in auth.json before this returns.
    """
    try:
        answer = await client.post(f"/provider/{PROVIDER}/oauth/callback", json={"method": method})
        if answer.status_code == HTTPStatus.OK and answer.json() is True:
            return CallbackEnd.APPROVED
        denied = answer.json().get("name") == "ProviderAuthOauthCallbackFailed"
    except (httpx.HTTPError, RuntimeError):
        # The latter: it was ended, and its client closed, before it could be asked.
        return CallbackEnd.LOST
    except (ValueError, AttributeError):
        return CallbackEnd.FAILED
    return CallbackEnd.DENIED if denied else CallbackEnd.FAILED


async def relay_redirect(code: str, state: str) -> None:
    """
    Bring OpenCode what the browser came back with.

    Raises:
        OpenCodeError: it does not listen, or refuses.
    """
    async with httpx.AsyncClient(trust_env=False, timeout=REDIRECT_SECONDS) as client:
        try:
            (await client.get(REDIRECT_URL, params={"code": code, "state": state})).raise_for_status()
        except httpx.HTTPError:
            # Without its cause, whose text repeats the code.
            raise OpenCodeError("OpenCode refused the redirect") from None


async def default_model(client: httpx.AsyncClient) -> str | None:
    """
    Return the model, ``provider/id``, that OpenCode takes for this provider; None while it is not connected.

    Raises:
        OpenCodeError: OpenCode gives no usable answer.
    """
    try:
        answer = await client.get("/config/providers")
        found = _Providers.model_validate_json(answer.raise_for_status().content).default.get(PROVIDER)
    except (httpx.HTTPError, ValidationError) as exc:
        raise OpenCodeError from exc
    return f"{PROVIDER}/{found}" if found else None
