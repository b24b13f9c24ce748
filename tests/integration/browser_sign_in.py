"""``python -m tests.integration.browser_sign_in DIR``: OpenCode's browser method, start to end, in this network."""

import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.integration.providers import opencode, provider
from tests.networks import bring_loopback_up


def sign_in(directory: Path) -> None:
    """Authorize, approve on the page, follow the redirect as a browser would, and see that OpenCode is signed in."""
    with provider(directory / "idp") as idp, opencode(directory / "opencode", idp) as code:
        url = urlsplit(code.authorize(method=0).json()["url"])
        assert (url.netloc, url.path) == ("auth.openai.com", "/oauth/authorize")
        asked = dict(parse_qsl(url.query))
        page = idp.client.get(url.path, params=asked)
        assert page.status_code == 200, page.text
        approved = idp.client.post(f"{url.path}/approve", data=asked)
        assert approved.status_code == 303, approved.text
        httpx.get(approved.headers["location"], trust_env=False).raise_for_status()
        assert code.callback(method=0).json() is True
        assert code.auth()["openai"]["accountId"] == idp.journal("oauth_token")[-1]["account_id"]


if __name__ == "__main__":
    bring_loopback_up()
    sign_in(Path(sys.argv[1]))
