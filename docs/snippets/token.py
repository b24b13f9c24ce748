import time

import jwt

LIFE_SECONDS = 900


def issue_session(secret: dict[str, str], *, user_id: str, thread_id: str) -> dict[str, str | int]:
    """``POST /session {thread}`` for a user whom your app has signed in already, and who may open that thread."""
    now = int(time.time())
    claims = {"aud": "threadbox", "thread_id": thread_id, "user_id": user_id, "iat": now, "exp": now + LIFE_SECONDS}
    token = jwt.encode(claims, secret["key"], algorithm="HS256", headers={"kid": secret["kid"]})
    return {"token": token, "expires_at": claims["exp"]}
