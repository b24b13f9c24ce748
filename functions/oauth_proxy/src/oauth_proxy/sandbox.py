"""Speaking to sandboxd about a sign-in, with a use token (images/opencode/openapi.json)."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Any, Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from threadbox.control import Access
from threadbox.errors import (
    AppError,
    MethodUnavailableError,
    NoSigninError,
    OpenCodeError,
    ProviderUnreachableError,
    SigninEndingError,
)
from threadbox.telemetry import correlation_headers

CONNECT_TIMEOUT = 3
CALL_TIMEOUT = 10
# sandboxd beats every 5 s; a task that died sends no reset.
SILENCE = 12
RETRY_AFTER = 2
Shape = TypeVar("Shape", bound=BaseModel)


class SandboxSilentError(OpenCodeError):
    """The sandbox was not reached, or fell silent: it may be gone."""


class Started(BaseModel):
    """What OpenCode says about a sign-in that it began: an address for the browser, and what to do there."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    instructions: str


class Progress(BaseModel):
    """
    Where an attempt stands in the sandbox.

    ``approved``: OpenCode has tokens, and waits to hear whether to keep them; ``accepted``: it does. ``expires_at`` is
    the access token's end (epoch seconds).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: Literal["pending", "approved", "accepted", "denied", "failed", "timed_out", "cancelled"]
    account_id: str | None = None
    expires_at: int | None = None


class _Refusal(BaseModel):
    """sandboxd's error body."""

    code: str = ""
    message: str = ""
    retry_after: int | None = None


class Approved(BaseModel):
    """What an approval gave, before it is stored. ``expires_at`` is the access token's end (epoch seconds)."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1)
    refresh_token: SecretStr = Field(min_length=1)
    expires_at: int
    account_id: str | None


_LINE: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class SigninClient:
    """
    Calls the sandbox that an :class:`Access` leads to.

    Every call may be repeated: the attempt's id makes it one.

    Raises:
        SandboxSilentError: there is no answer.
        NoSigninError: the sandbox knows no such attempt.
        OpenCodeError: it refuses otherwise.
    """

    http: httpx.Client

    def start(
        self, access: Access, attempt_id: str, *, method: int, seconds: int, patience: float = CALL_TIMEOUT
    ) -> Started:
        """
        Have OpenCode begin a sign-in that sandboxd ends by itself after *seconds*.

        Raises:
            SigninEndingError: an earlier one is still being ended.
            MethodUnavailableError: not this way, in this sandbox.
            ProviderUnreachableError: the provider does not answer OpenCode, or refuses.
        """
        body = {"attempt_id": attempt_id, "method": method, "seconds": seconds}
        response = self._call(access, "POST", "", body, patience=patience)
        return _shaped(Started, response.content)

    def begin(self, access: Access, attempt_id: str) -> Progress:
        """Have it wait for the user's approval."""
        return self._progress(access, "POST", f"/{attempt_id}/callback")

    def watch(self, access: Access, attempt_id: str, *, seconds: float, silence: float = SILENCE) -> Progress:
        """Return where the attempt stands once it is not pending any more, or after *seconds* (50 at most)."""
        give_up = monotonic() + seconds + silence
        try:
            with self.http.stream(
                "GET",
                _url(access, f"/{attempt_id}"),
                params={"wait": f"{seconds:.1f}"},
                headers=_headers(access),
                timeout=httpx.Timeout(silence, connect=CONNECT_TIMEOUT),
            ) as response:
                if response.status_code != HTTPStatus.OK:
                    raise _refusal(response.status_code, response.read())
                for text in response.iter_lines():
                    if _line(text).get("type") == "signin":
                        return _shaped(Progress, text)
                    if monotonic() > give_up:
                        break
        except httpx.HTTPError as exc:
            raise SandboxSilentError("The sandbox fell silent.") from exc
        raise SandboxSilentError("The sandbox ended the stream.")

    def tokens(self, access: Access, attempt_id: str) -> Approved:
        """Return what the approval gave; until it is accepted, as often as needed."""
        return _shaped(Approved, self._call(access, "GET", f"/{attempt_id}/tokens", None).content)

    def accept(self, access: Access, attempt_id: str, *, version: int) -> Progress:
        """Say that it is stored as *version*: OpenCode may use the access token, the rest is forgotten there."""
        return self._progress(access, "POST", f"/{attempt_id}/accept", {"version": version})

    def cancel(self, access: Access, attempt_id: str) -> Progress:
        """Call the attempt off; what was approved and not accepted is taken back."""
        return self._progress(access, "DELETE", f"/{attempt_id}")

    def redirect(self, access: Access, attempt_id: str, *, code: str, state: str) -> Progress:
        """Hand on what the browser brought back from the provider."""
        return self._progress(access, "POST", f"/{attempt_id}/redirect", {"code": code, "state": state})

    def _progress(self, access: Access, method: str, path: str, body: dict[str, Any] | None = None) -> Progress:
        return _shaped(Progress, self._call(access, method, path, body).content)

    def _call(
        self, access: Access, method: str, path: str, body: dict[str, Any] | None, *, patience: float = CALL_TIMEOUT
    ) -> httpx.Response:
        try:
            response = self.http.request(
                method,
                _url(access, path),
                content=json.dumps(body) if body is not None else None,
                headers={**_headers(access), "Content-Type": "application/json"},
                timeout=httpx.Timeout(patience, connect=CONNECT_TIMEOUT),
            )
        except httpx.HTTPError as exc:
            raise SandboxSilentError("The sandbox does not answer.") from exc
        if response.is_error:
            raise _refusal(response.status_code, response.content)
        return response


def _url(access: Access, path: str) -> str:
    return f"{access.url}/sandboxd/signin{path}"


def _headers(access: Access) -> dict[str, str]:
    return {"Authorization": f"Bearer {access.token}", **correlation_headers()}


def _line(text: str) -> dict[str, Any]:
    try:
        return _LINE.validate_json(text)
    except ValidationError as exc:
        raise OpenCodeError("The sandbox gave an answer that makes no sense.") from exc


def _shaped(shape: type[Shape], content: bytes | str) -> Shape:
    try:
        return shape.model_validate_json(content)
    except ValidationError:
        # Without its cause, whose text may repeat a token.
        raise OpenCodeError("The sandbox gave an answer that makes no sense.") from None


def _refusal(status: int, content: bytes) -> AppError:
    try:
        refusal = _Refusal.model_validate_json(content)
    except ValidationError:
        refusal = _Refusal()
    match refusal.code:
        case "signin_ending":
            after = refusal.retry_after or RETRY_AFTER
            return SigninEndingError("An earlier sign-in is still being ended.", retry_after=after)
        case "method_unavailable":
            return MethodUnavailableError(refusal.message or "This way to sign in is not available here.")
        case "provider_unreachable":
            return ProviderUnreachableError(
                "The sign-in service cannot be reached, or refuses. Please try again later."
            )
        case "no_signin":
            return NoSigninError("The sandbox knows no such sign-in.")
        case "ending":
            return SandboxSilentError("The sandbox is about to end.")
    return OpenCodeError("The sandbox refused a call.", status=status)
