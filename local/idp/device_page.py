"""
Where a user approves or denies a device code.

* ``GET /codex/device``           the page; ``?user_code=`` fills the code in
* ``POST /codex/device/approve``  a form or JSON ``{user_code, account_id?}``; answers in kind
* ``POST /codex/device/deny``     the same
"""

from functools import partial
from html import escape
from http import HTTPStatus

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.idp.device_codes import AlreadyDecidedError, DeviceCode, DeviceCodes, UnknownUserCodeError
from local.idp.forms import AccountId, is_foreign_form, read_form
from local.idp.pages import code_field, decision, page

PATH = "/codex/device"
REFUSALS = {
    UnknownUserCodeError: (HTTPStatus.NOT_FOUND, "not_found"),
    AlreadyDecidedError: (HTTPStatus.CONFLICT, "conflict"),
}


class Decision(BaseModel):
    """What is decided about which code, and by whom."""

    user_code: str = Field(max_length=40)
    account_id: AccountId | None = None


class DevicePage:
    """The routes."""

    def __init__(self, codes: DeviceCodes, *, account_id: str) -> None:
        """Take the codes, and the account that approves unless another is named."""
        self._codes = codes
        self._account_id = account_id
        self.routes = [
            Route(PATH, self._show),
            Route(f"{PATH}/approve", partial(self._decide, approve=True), methods=["POST"]),
            Route(f"{PATH}/deny", partial(self._decide, approve=False), methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        pending = [code.user_code for code in self._codes.pending()]
        code = request.query_params.get("user_code", pending[0] if len(pending) == 1 else "")
        text = "<p>A program wants to use ChatGPT in your name. Enter the code that it shows you.</p>"
        return page(
            "Sign in to Codex with ChatGPT",
            decision(text, action=PATH, field=code_field(code, pending), account_id=self._account_id, label="Approve"),
        )

    async def _decide(self, request: Request, *, approve: bool) -> Response:
        as_json = request.headers.get("content-type", "").startswith("application/json")
        if not as_json and is_foreign_form(request):
            return answer(as_json, HTTPStatus.FORBIDDEN, "forbidden", "Only this page itself may decide.")
        try:
            if as_json:
                asked = Decision.model_validate_json(await request.body())
            else:
                asked = Decision.model_validate(await read_form(request))
            if approve:
                code = self._codes.approve(asked.user_code, account_id=asked.account_id or self._account_id)
            else:
                code = self._codes.deny(asked.user_code)
        except ValidationError:
            return answer(as_json, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", "A code is missing.")
        except (UnknownUserCodeError, AlreadyDecidedError) as error:
            return answer(as_json, *REFUSALS[type(error)], str(error))
        return JSONResponse(outcome(code)) if as_json else outcome_page(code)


def outcome(code: DeviceCode) -> dict[str, str | None]:
    """What was decided, as JSON."""
    return {"user_code": code.user_code, "status": code.status, "account_id": code.account_id}


def outcome_page(code: DeviceCode) -> Response:
    """What was decided, for the user."""
    if code.status == "denied":
        return page("Denied", "<p>The program gets nothing. You may close this page.</p>")
    body = f"<p>Signed in as <code>{escape(str(code.account_id))}</code>. You may close this page.</p>"
    return page("Approved", body)


def answer(as_json: bool, status: HTTPStatus, code: str, message: str) -> Response:  # noqa: FBT001 - the kind of answer
    """A refusal, in kind."""
    if as_json:
        return JSONResponse({"ok": False, "code": code, "message": message}, status)
    return page("That did not work", f'<p>{escape(message)}</p><p><a href="{PATH}">Try again</a></p>', status)
