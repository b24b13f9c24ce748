"""
The endpoints that programs call, as OpenCode 1.18 calls them.

* ``POST /api/accounts/deviceauth/usercode``  ``{client_id}`` -> ``{device_auth_id, user_code, interval}``
* ``POST /api/accounts/deviceauth/token``     ``{device_auth_id, user_code}`` -> ``{authorization_code,
  code_challenge, code_verifier}``; 403 until the user has decided
* ``POST /oauth/token``                       a form; a code or a refresh token -> tokens
* ``POST /oauth/revoke``                      ``{token, token_type_hint?, client_id}`` -> ``{}``; JSON, as OpenAI's own
  client sends it, and otherwise RFC 7009: a token that nobody knows is as good as revoked
* ``POST /backend-api/codex/responses``       a model's answer, for an access token

Refusals are ``{"error": {"code", "message"}}``, with the codes of ``local.idp.errors``.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.idp.device_codes import DeviceCodes
from local.idp.errors import InvalidClientError, InvalidTokenError, OAuthError, UnsupportedGrantTypeError
from local.idp.faults import Faults, Gone, commit
from local.idp.grants import Grants, challenge_of
from local.idp.journal import Endpoint, Entry, Journal
from local.idp.responses import Models

logger = logging.getLogger(__name__)

CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
"""The one that OpenCode signs in as."""
ISSUER = "https://auth.openai.com"
DEVICE_REDIRECT = f"{ISSUER}/deviceauth/callback"

Answer = Callable[[Request, Entry], Awaitable[Response]]


class UserCodeRequest(BaseModel):
    """What a program asks a code with."""

    client_id: str = Field(max_length=200)


class DeviceTokenRequest(BaseModel):
    """What a program polls with."""

    device_auth_id: str = Field(max_length=200)
    user_code: str = Field(max_length=40)


class TokenRequest(BaseModel):
    """The form of ``/oauth/token``."""

    grant_type: str = ""
    client_id: str = ""
    code: str = ""
    redirect_uri: str = ""
    code_verifier: str = ""
    refresh_token: str = ""


class RevocationRequest(BaseModel):
    """What a token is taken back with. The hint is one only: every kind of token is looked for."""

    token: str = Field(max_length=4000)
    token_type_hint: str = Field(default="", max_length=40)
    client_id: str = Field(max_length=200)


class Wire:
    """The routes, on the provider's state."""

    def __init__(
        self,
        *,
        codes: DeviceCodes,
        grants: Grants,
        models: Models,
        faults: Faults,
        journal: Journal,
        interval: int,
    ) -> None:
        """Take the state, and how many seconds apart a program shall poll."""
        self._codes = codes
        self._grants = grants
        self._models = models
        self._faults = faults
        self._journal = journal
        self._interval = interval
        self.routes = [
            self._route("/api/accounts/deviceauth/usercode", "usercode", self._user_code),
            self._route("/api/accounts/deviceauth/token", "token", self._device_token),
            self._route("/oauth/token", "oauth_token", self._token),
            self._route("/oauth/revoke", "revoke", self._revoke),
            self._route("/backend-api/codex/responses", "responses", self._responses),
        ]

    def _route(self, path: str, name: Endpoint, answer: Answer) -> Route:
        async def serve(request: Request) -> Response:
            entry = self._journal.begin(name)
            try:
                return await self._answer(request, entry, answer)
            finally:
                logger.info("%s %s %s", name, entry.outcome, entry.user_code or entry.grant_id or "")

        return Route(path, serve, methods=["POST"])

    async def _answer(self, request: Request, entry: Entry, answer: Answer) -> Response:
        fault = self._faults.due(entry.endpoint)
        if fault is not None and (response := await commit(fault, request)) is not None:
            entry.outcome = "left" if fault.mode == "slow" else fault.mode
            return response
        response = await handle(request, entry, answer)
        if fault is not None and fault.mode == "lost":
            entry.outcome = "lost"
            return Gone.cut(request)
        return response

    async def _user_code(self, request: Request, entry: Entry) -> Response:
        asked = UserCodeRequest.model_validate_json(await request.body())
        check_client(asked.client_id)
        code = self._codes.issue(asked.client_id)
        entry.user_code = code.user_code
        return JSONResponse(
            # The interval is text, as the real one's.
            {"device_auth_id": code.device_auth_id, "user_code": code.user_code, "interval": str(self._interval)}
        )

    async def _device_token(self, request: Request, entry: Entry) -> Response:
        asked = DeviceTokenRequest.model_validate_json(await request.body())
        entry.user_code = asked.user_code
        code = self._codes.redeem(asked.device_auth_id, asked.user_code)
        entry.account_id = code.account_id
        verifier = secrets.token_urlsafe(48)
        challenge = challenge_of(verifier)
        value = self._grants.issue_code(
            client_id=code.client_id,
            redirect_uri=DEVICE_REDIRECT,
            code_challenge=challenge,
            account_id=code.account_id or "",
        )
        return JSONResponse({"authorization_code": value, "code_challenge": challenge, "code_verifier": verifier})

    async def _token(self, request: Request, entry: Entry) -> Response:
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        asked = TokenRequest.model_validate({name: values[-1] for name, values in form.items()})
        entry.grant_type = asked.grant_type[:40]
        check_client(asked.client_id)
        if asked.grant_type == "authorization_code":
            grant, tokens = self._grants.exchange(
                asked.code,
                client_id=asked.client_id,
                redirect_uri=asked.redirect_uri,
                code_verifier=asked.code_verifier,
            )
        elif asked.grant_type == "refresh_token":
            known = self._grants.grant_of(asked.refresh_token)
            entry.grant_id = known.id if known else None
            grant, tokens = self._grants.refresh(asked.refresh_token, client_id=asked.client_id)
        else:
            raise UnsupportedGrantTypeError("Only authorization_code and refresh_token are known here.")
        entry.grant_id, entry.account_id = grant.id, grant.account_id
        return JSONResponse(tokens, headers={"cache-control": "no-store"})

    async def _revoke(self, request: Request, entry: Entry) -> Response:
        asked = RevocationRequest.model_validate_json(await request.body())
        check_client(asked.client_id)
        if (grant := self._grants.revoke(asked.token)) is not None:
            entry.grant_id, entry.account_id = grant.id, grant.account_id
        return JSONResponse({})

    async def _responses(self, request: Request, entry: Entry) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise InvalidTokenError("There is no access token.")
        bearer = self._grants.bearer(token)
        entry.grant_id, entry.account_id = bearer.grant_id, bearer.account_id
        if request.headers.get("chatgpt-account-id") != bearer.account_id:
            raise InvalidTokenError("ChatGPT-Account-Id is not the account of the access token.")
        return await self._models.answer(await request.body())


async def handle(request: Request, entry: Entry, answer: Answer) -> Response:
    """The answer to a call that nothing keeps from being handled."""
    try:
        response = await answer(request, entry)
    except ValidationError:
        return refuse(OAuthError("The request is not what this endpoint takes."), entry)
    except OAuthError as error:
        return refuse(error, entry)
    entry.outcome = "ok"
    return response


def check_client(client_id: str) -> None:
    """
    Only OpenCode's client signs in here.

    Raises:
        InvalidClientError: it is another.

    """
    if client_id != CLIENT_ID:
        raise InvalidClientError("There is no such client.")


def refuse(error: OAuthError, entry: Entry) -> Response:
    """The answer that an error gets."""
    entry.outcome = error.code
    return JSONResponse({"error": {"code": error.code, "message": str(error)}}, error.status)
