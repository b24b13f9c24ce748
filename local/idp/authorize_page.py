"""
The browser's way in (RFC 6749, 4.1, with RFC 7636): the page at ``/oauth/authorize`` redirects back with a code.

``POST /oauth/authorize/approve|deny`` takes the page's own parameters as a form, and ``account_id`` if it is another.
"""

from functools import partial
from html import escape
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from local.idp.forms import AccountId, is_foreign_form, read_form
from local.idp.grants import Grants
from local.idp.pages import decision, hidden, page
from local.idp.wire import CLIENT_ID

PATH = "/oauth/authorize"
REDIRECT = r"^http://(localhost|127\.0\.0\.1)(:\d{1,5})?/auth/callback$"
"""What the client is registered for: its own callback on this machine, at any port (RFC 8252, 7.3)."""


class AuthorizationRequest(BaseModel):
    """What a program sends the user's browser with."""

    response_type: Literal["code"]
    client_id: str = Field(pattern=f"^{CLIENT_ID}$")
    redirect_uri: str = Field(pattern=REDIRECT)
    code_challenge: str = Field(pattern=r"^[A-Za-z0-9_-]{43}$")
    code_challenge_method: Literal["S256"]
    state: str = Field(min_length=1, max_length=500)


class Decision(AuthorizationRequest):
    """The same, decided by an account."""

    account_id: AccountId | None = None


class AuthorizePage:
    """The routes."""

    def __init__(self, grants: Grants, *, account_id: str) -> None:
        """Take where codes come from, and the account that approves unless another is named."""
        self._grants = grants
        self._account_id = account_id
        self.routes = [
            Route(PATH, self._show),
            Route(f"{PATH}/approve", partial(self._decide, approve=True), methods=["POST"]),
            Route(f"{PATH}/deny", partial(self._decide, approve=False), methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        try:
            asked = AuthorizationRequest.model_validate(dict(request.query_params))
        except ValidationError:
            return refusal("The program that sent you here asked in a way that cannot be answered.")
        back = urlsplit(asked.redirect_uri)
        text = f"<p>OpenCode at <code>{escape(back.netloc)}</code> wants to use ChatGPT in your name.</p>"
        return page(
            "Sign in to Codex with ChatGPT",
            decision(
                text,
                action=PATH,
                field=hidden(asked.model_dump().items()),
                account_id=self._account_id,
                label="Approve",
            ),
            # Browsers hold a form's redirects to the policy, too.
            leads_to=f"http://{back.netloc}",
        )

    async def _decide(self, request: Request, *, approve: bool) -> Response:
        if is_foreign_form(request):
            return refusal("Only this page itself may decide.", HTTPStatus.FORBIDDEN)
        try:
            asked = Decision.model_validate(await read_form(request))
        except ValidationError:
            return refusal("What was asked cannot be answered.")
        if approve:
            code = self._grants.issue_code(
                client_id=CLIENT_ID,
                redirect_uri=asked.redirect_uri,
                code_challenge=asked.code_challenge,
                account_id=asked.account_id or self._account_id,
            )
            told = {"code": code, "state": asked.state}
        else:
            told = {"error": "access_denied", "error_description": "The user denied the request.", "state": asked.state}
        return RedirectResponse(f"{asked.redirect_uri}?{urlencode(told)}", HTTPStatus.SEE_OTHER)


def refusal(message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> Response:
    """A page that tells why not. Never a redirect: where to is part of what cannot be trusted."""
    return page("That did not work", f"<p>{escape(message)}</p>", status)
