"""The provider's pages as HTML: plain, in light and dark, with nothing from anywhere else and no script."""

from collections.abc import Iterable
from html import escape
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

STYLE = (Path(__file__).parent / "style.css").read_text()
STYLE_PATH = "/codex/style.css"


def page(title: str, body: str, status: HTTPStatus = HTTPStatus.OK, *, leads_to: str = "") -> Response:
    """
    A page.

    Args:
        title: text.
        body: HTML.
        status: of the answer.
        leads_to: another origin that its form may redirect to.

    """
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{STYLE_PATH}"></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}"
        "<footer>This is the local stand-in for OpenAI's sign-in page. It knows no passwords and nothing leaves this "
        "machine.</footer></main></body></html>"
    )
    policy = (
        f"default-src 'none'; style-src 'self'; form-action 'self' {leads_to}; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "cache-control": "no-store",
        "content-security-policy": policy,
        # Without one, a browser would not say which page a form is from.
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
    }
    return HTMLResponse(html, status, headers)


def decision(text: str, *, action: str, field: str, account_id: str, label: str) -> str:
    """
    A form with the two buttons.

    Args:
        text: HTML before the form.
        action: path to which ``/approve`` or ``/deny`` is added.
        field: HTML of what is decided about.
        account_id: the account that approves unless another is named.
        label: what the approving button says.

    """
    return (
        f'{text}<form method="post" action="{action}/approve">{field}'
        '<details><summary>Sign in as another account</summary><label for="account">Account id</label>'
        f'<input id="account" name="account_id" value="{escape(account_id)}" autocomplete="off" spellcheck="false">'
        "</details>"
        f'<p class="buttons"><button class="approve">{escape(label)}</button>'
        f'<button formaction="{action}/deny" formnovalidate>Deny</button></p></form>'
    )


def code_field(user_code: str, pending: Iterable[str]) -> str:
    """The field for a code; the codes that wait for a decision are offered."""
    options = "".join(f'<option value="{escape(code)}">' for code in pending)
    return (
        '<label for="code">Code</label>'
        f'<input id="code" name="user_code" value="{escape(user_code)}" list="pending" required maxlength="40" '
        'autocomplete="off" autocapitalize="characters" spellcheck="false" aria-describedby="warning">'
        f'<datalist id="pending">{options}</datalist>'
        '<p id="warning">Only enter a code that you have just asked for yourself. Never share it.</p>'
    )


def hidden(fields: Iterable[tuple[str, str]]) -> str:
    """Fields that only travel along."""
    return "".join(f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in fields)


async def style(_request: Request) -> Response:
    """The pages' style sheet."""
    return Response(STYLE, media_type="text/css", headers={"cache-control": "no-store"})


STYLE_ROUTE = Route(STYLE_PATH, style)
