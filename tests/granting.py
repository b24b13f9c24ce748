"""Signing in at the local identity provider as OpenCode does, for tests that need a grant and no sandbox."""

import httpx
from pydantic import BaseModel

from local.idp.wire import CLIENT_ID, DEVICE_REDIRECT


class Granted(BaseModel):
    """What a sign-in gives."""

    access_token: str
    refresh_token: str
    expires_in: int


def grant(idp_url: str) -> Granted:
    """Ask for a code, approve it, and redeem it (RFC 8628, in the provider's words)."""
    with httpx.Client(base_url=idp_url, timeout=30) as http:
        device = _post(http, "/api/accounts/deviceauth/usercode", json={"client_id": CLIENT_ID})
        http.post("/codex/device/approve", json={"user_code": device["user_code"]}).raise_for_status()
        asked = {name: device[name] for name in ("device_auth_id", "user_code")}
        code = _post(http, "/api/accounts/deviceauth/token", json=asked)
        form = {
            "grant_type": "authorization_code",
            "client_id": CLIENT_ID,
            "code": code["authorization_code"],
            "code_verifier": code["code_verifier"],
            "redirect_uri": DEVICE_REDIRECT,
        }
        return Granted.model_validate(_post(http, "/oauth/token", data=form))


def _post(http: httpx.Client, path: str, **body: dict[str, str]) -> dict[str, str]:
    answer: dict[str, str] = http.post(path, **body).raise_for_status().json()
    return answer
